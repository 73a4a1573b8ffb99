// Compressed checkpoints: items in memory, items in steps, and what is wrong
// with them.

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "storage/damage.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using conformance::AllOf;
using conformance::RandomTensor;
using conformance::State;
using conformance::Wanted;

/// Objects, tensors that are decompressed in memory, and one in steps.
State MixedState() {
  State state;
  state.objects["step"] = conformance::ObjectOf(7);
  state.tensors["small"] = RandomTensor(1, DType::kFloat32, {16, 3});
  state.tensors["none"] = RandomTensor(2, DType::kFloat32, {0});
  state.tensors["large"] = RandomTensor(3, DType::kBFloat16, {3500, 5003});
  return state;
}

std::shared_ptr<FileSystem> Compressed(const State& state) {
  return Saved(state, {.compression = Compression::kZstd});
}

TEST_CASE(
    "small and large tensors come back whole and in parts, checked and "
    "not",
    "[storage][zstd]") {
  const State state = MixedState();
  auto fs = Compressed(state);
  for (bool stock : {false, true}) {
    if (stock) PutStockMetadata(*fs, ReadMetadata(*fs));
    for (bool verify : {true, false}) {
      std::vector<Wanted> wanted = AllOf(state);
      wanted.push_back({.fqn = "large",
                        .box = {.offsets = {1700, 17}, .sizes = {300, 4001}},
                        .dtype = DType::kBFloat16});
      wanted.push_back({.fqn = "large",
                        .box = {.offsets = {0, 5002}, .sizes = {3500, 1}},
                        .dtype = DType::kBFloat16});
      DCP_CHECK_OK(LoadState(fs, {.verify = verify}, wanted));
      CHECK(AllRight(state, wanted));
    }
  }
}

TEST_CASE("another transform than ours is refused by name", "[storage][zstd]") {
  const State state = MixedState();
  auto fs = Compressed(state);
  Metadata metadata = ReadMetadata(*fs);
  for (const std::vector<std::string>& transforms :
       {std::vector<std::string>{"stream.lzma/9"},
        std::vector<std::string>{"stream.zstd/2"},
        std::vector<std::string>{"stream.zstd/11"},
        std::vector<std::string>{"stream.zstd/1", "stream.zstd/1"}}) {
    for (auto& [index, info] : metadata.storage_data) {
      info.transform_descriptors = transforms;
    }
    PutStockMetadata(*fs, metadata);
    std::vector<Wanted> wanted = AllOf(state);
    const Status status = LoadState(fs, {}, wanted);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(status)), Catch::Contains(transforms[0]));
  }
}

TEST_CASE("another minor version of the transform is read", "[storage][zstd]") {
  const State state = MixedState();
  auto fs = Compressed(state);
  Metadata metadata = ReadMetadata(*fs);
  for (auto& [index, info] : metadata.storage_data) {
    info.transform_descriptors = {"stream.zstd/1.5"};
  }
  PutStockMetadata(*fs, metadata);
  std::vector<Wanted> wanted = AllOf(state);
  DCP_CHECK_OK(LoadState(fs, {}, wanted));
  CHECK(AllRight(state, wanted));
}

TEST_CASE("a damaged frame names its key and file", "[storage][zstd]") {
  const State state = MixedState();
  for (bool stock : {false, true}) {
    auto fs = Compressed(state);
    const Metadata metadata = ReadMetadata(*fs);
    if (stock) PutStockMetadata(*fs, metadata);
    for (const auto& [index, info] : metadata.storage_data) {
      INFO(ToString(index) << (stock ? ", stock" : ", ours"));
      const std::string path = "/ckpt/" + info.relative_path;
      const auto byte = static_cast<size_t>(info.offset + info.length / 2);
      FlipBit(*fs, path, byte, 5);
      std::vector<Wanted> wanted = AllOf(state);
      std::erase_if(wanted,
                    [&](const Wanted& w) { return w.fqn != index.fqn; });
      const Status status = LoadState(fs, {}, wanted);
      FlipBit(*fs, path, byte, 5);
      if (state.tensors.contains(index.fqn) &&
          state.tensors.at(index.fqn).bytes.empty()) {
        continue;  // not read at all
      }
      INFO(Message(status));
      CHECK(status.code() == absl::StatusCode::kDataLoss);
      const auto detail = GetErrorDetail(status);
      REQUIRE(detail.has_value());
      CHECK(detail->fqn == index.fqn);
      CHECK(detail->path == path);
    }
  }
}

TEST_CASE("a frame that claims a smaller tensor than it holds is refused",
          "[storage][zstd]") {
  const State state = MixedState();
  auto fs = Compressed(state);
  Metadata metadata = ReadMetadata(*fs);
  Metadata forged;
  forged.storage_meta = metadata.storage_meta;
  const Dims claimed{16};
  for (const auto& [index, info] : metadata.storage_data) {
    const MetadataIndex first{.fqn = "large", .offset = Dims{0, 0}};
    if (!(index == first)) continue;
    forged.Add("large", TensorStorageMetadata{.size = claimed,
                                              .chunks = {WholeBox(claimed)}});
    forged.storage_data[{.fqn = "large", .offset = Dims{0}}] = info;
  }
  PutStockMetadata(*fs, forged);
  std::vector<Wanted> wanted = {{.fqn = "large", .box = WholeBox(claimed)}};
  CHECK(LoadState(fs, {}, wanted).code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dcp
