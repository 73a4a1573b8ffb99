#include "storage/tensor_sink.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/checksum.h"
#include "base/tensor_cases.h"
#include "conformance/storage_state.h"
#include "format/bytes.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using conformance::BytesOf;
using conformance::RandomTensor;
using conformance::StateTensor;
using testing::FakeDevice;

/// A stored tensor and the parts of it that are read, some onto a device.
struct SinkCase {
  SinkCase(Random* random, int64_t data_begin)
      : tensor(RandomTensor(random->engine(),
                            random->Pick({DType::kFloat32, DType::kInt8}),
                            random->Sizes(4, 9))),
        place{.data_begin = data_begin,
              .data_nbytes = static_cast<int64_t>(tensor.bytes.size()),
              .image = {.dtype = tensor.dtype, .sizes = tensor.sizes},
              .crc32 = Crc32(0, AsBytes(tensor.bytes))} {
    item.index.fqn = "w";
    item.info.relative_path = "f";
    for (int64_t i = random->Between(1, 3); i > 0; --i) {
      const Box box = random->PartOf(tensor.sizes);
      OwnedTensor owned =
          random->Strided(tensor.dtype, box.sizes, Random::Overlap::kForbidden);
      if (random->OneIn(2)) {
        owned.view =
            ContiguousView(owned.memory.data(), tensor.dtype, box.sizes);
      }
      if (random->OneIn(3)) owned.view = FakeDevice::OnDevice(owned.view);
      parts.push_back({.box = box, .destination = owned.view});
      destinations.push_back(std::move(owned));
    }
  }

  void CheckDelivered() const {
    for (size_t i = 0; i < parts.size(); ++i) {
      const OwnedTensor& owned = destinations[i];
      const std::string expected = BytesOf(tensor, parts[i].box);
      const auto itemsize = static_cast<size_t>(ItemSize(tensor.dtype));
      for (int64_t e = 0; e < parts[i].box.numel(); ++e) {
        std::string element(reinterpret_cast<const char*>(owned.ElementAt(
                                IndexOfElement(e, parts[i].box.sizes))),
                            itemsize);
        if (owned.view.device.type != DeviceType::kCpu) {
          element = FakeDevice::TurnedOver(element);
        }
        if (element !=
            expected.substr(static_cast<size_t>(e) * itemsize, itemsize)) {
          FAIL("element " << e << " of part " << i);
        }
      }
    }
  }

  StateTensor tensor;
  TensorPlace place;
  StoredItem item;
  std::vector<TensorPart> parts;
  std::vector<OwnedTensor> destinations;
};

/// Feeds the bytes of `extents` in pieces of whole elements, in any order.
Status Feed(TensorSink& sink, const std::vector<Extent>& extents,
            const SinkCase& test, Random* random) {
  struct Piece {
    int64_t begin, end;
  };
  std::vector<Piece> pieces;
  const int64_t itemsize = ItemSize(test.tensor.dtype);
  for (const Extent& extent : extents) {
    for (int64_t at = extent.begin; at < extent.end;) {
      const int64_t next =
          std::min(extent.end, at + itemsize * random->Between(1, 50));
      pieces.push_back({at, next});
      at = next;
    }
  }
  std::shuffle(pieces.begin(), pieces.end(), random->engine);
  for (const Piece& piece : pieces) {
    const auto from = static_cast<size_t>(piece.begin - test.place.data_begin);
    const auto bytes = AsBytes(
        std::string_view(test.tensor.bytes)
            .substr(from, static_cast<size_t>(piece.end - piece.begin)));
    std::byte* place = sink.InPlace(piece.begin, piece.end);
    if (place != nullptr) {
      std::copy(bytes.begin(), bytes.end(), place);
      DCP_RETURN_IF_ERROR(sink.Write(piece.begin, {place, bytes.size()}));
    } else {
      DCP_RETURN_IF_ERROR(sink.Write(piece.begin, bytes));
    }
  }
  return absl::OkStatus();
}

void CheckSink(uint64_t seed, TensorSink::CheckCrc check) {
  INFO("seed " << seed);
  Random random(seed);
  SinkCase test(&random, 64 * random.Between(0, 100));
  FakeDevice device;
  TensorSink sink(test.item, test.place, test.parts, check, device);
  std::vector<Extent> extents;
  sink.AppendExtents(&extents);
  for (size_t i = 0; i < extents.size(); ++i) {
    CHECK(extents[i].begin >= test.place.data_begin);
    CHECK(extents[i].end <= test.place.data_begin + test.place.data_nbytes);
    if (i > 0) CHECK(extents[i].begin >= extents[i - 1].end);
  }
  const Status status = Feed(sink, extents, test, &random);
  INFO(Message(status));
  REQUIRE(status.ok());
  test.CheckDelivered();
}

TEST_CASE("parts of a tensor arrive, in whatever pieces it comes",
          "[storage]") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    CheckSink(seed, TensorSink::CheckCrc::kNo);
    CheckSink(seed, TensorSink::CheckCrc::kYes);
  }
}

TEST_CASE(
    "data that differs from its CRC is damage, in whatever order it "
    "comes",
    "[storage]") {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    SinkCase test(&random, 128);
    if (test.tensor.bytes.empty()) continue;
    test.place.crc32 ^= 1;
    FakeDevice device;
    TensorSink sink(test.item, test.place, test.parts,
                    TensorSink::CheckCrc::kYes, device);
    std::vector<Extent> extents;
    sink.AppendExtents(&extents);
    const Status status = Feed(sink, extents, test, &random);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK(GetErrorDetail(status)->fqn == "w");
    CHECK(GetErrorDetail(status)->byte_offset == 128);
  }
}

/// Resolves to one view.
class OneTarget final : public ReadTarget {
 public:
  explicit OneTarget(TensorView view) : view_(std::move(view)) {}
  StatusOr<TensorView> ResolveTensor(const ReadItem&) override { return view_; }
  Status LoadObject(const ReadItem&, std::string) override {
    return Internal("no object here");
  }
  Status LoadOpaqueTensor(const ReadItem&, std::string) override {
    return Internal("no object here");
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }

 private:
  const TensorView view_;
};

TEST_CASE("a destination of another shape or kind is refused", "[storage]") {
  const ReadItem read{.storage_offsets = {0}, .lengths = {4}};
  StoredItem item{.index = {.fqn = "w"}};
  item.reads = {&read};
  const TensorPlace place{.image = {.dtype = DType::kComplex64, .sizes = {4}}};
  OneTarget good(ContiguousView(nullptr, DType::kComplex128, {4}));
  CHECK(ResolveParts(item, place, good).ok());
  OneTarget short_one(ContiguousView(nullptr, DType::kComplex64, {3}));
  CHECK(ResolveParts(item, place, short_one).status().code() ==
        absl::StatusCode::kInvalidArgument);
  OneTarget bits(ContiguousView(nullptr, DType::kBits8, {4}));
  CHECK(ResolveParts(item, place, bits).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
