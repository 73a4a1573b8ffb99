#include "storage/file_image.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "base/cast.h"
#include "base/checksum.h"
#include "base/strided_copy.h"
#include "base/tensor_cases.h"
#include "conformance/bytes.h"
#include "format/item_testing.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using testing::FakeDevice;

/// Items of a file, what they should look like, and their memory.
struct ImageCase {
  std::vector<ImageItem> items;
  std::deque<std::vector<std::byte>> memory;
  std::deque<std::string> objects;
  std::string expected;

  void Pad() {
    expected.resize(static_cast<size_t>(
                        AlignItemOffset(static_cast<int64_t>(expected.size()))),
                    '\0');
  }
  int64_t end() const { return static_cast<int64_t>(expected.size()); }

  void AddObject(std::string bytes) {
    Pad();
    objects.push_back(std::move(bytes));
    items.push_back({.file_offset = end(),
                     .length = static_cast<int64_t>(objects.back().size()),
                     .content = std::string_view(objects.back())});
    expected += objects.back();
  }

  void AddTensor(TensorView view, DType stored, std::string_view data) {
    Pad();
    TensorImage tensor{.spec = {.dtype = stored, .sizes = view.sizes},
                       .view = view};
    tensor.layout = LayoutTensorItem(tensor.spec, end()).value();
    items.push_back({.file_offset = end(),
                     .length = tensor.layout.length,
                     .content = tensor});
    expected += RenderItem(tensor.spec, end(), data);
  }

  void AddRandomTensor(Random* random) {
    const DType dtype = random->Pick(
        {DType::kFloat32, DType::kBFloat16, DType::kUInt8, DType::kComplex128});
    const Dims sizes = random->OneIn(3) ? Dims{random->Between(1, 900), 300}
                                        : random->Sizes(4, 9);
    OwnedTensor tensor =
        random->Strided(dtype, sizes, Random::Overlap::kAllowed);
    const bool casts = dtype == DType::kFloat32 && random->OneIn(2);
    const DType stored = casts ? DType::kBFloat16 : dtype;
    std::string data(static_cast<size_t>(Numel(sizes) * ItemSize(stored)), '?');
    GatherRange(tensor.view, stored, 0,
                std::as_writable_bytes(std::span(data)));
    // Moving a vector does not move its memory.
    memory.push_back(std::move(tensor.memory));
    const bool on_device = tensor.view.is_contiguous() && random->OneIn(2);
    if (on_device) {
      for (std::byte& b : memory.back()) b = ~b;
      tensor.view = FakeDevice::OnDevice(tensor.view);
    }
    AddTensor(tensor.view, stored, data);
  }
};

/// Fills the whole image in blocks, by several threads in file order.
std::string FillAll(FileImage& image, int64_t size, int64_t block,
                    FillMode mode, int thread_count) {
  std::string file(static_cast<size_t>(size), '?');
  std::atomic<int64_t> next{0};
  std::atomic<int> errors{0};
  const auto work = [&] {
    std::vector<std::byte> buffer(static_cast<size_t>(block));
    for (int64_t at = block * next++; at < size; at = block * next++) {
      std::vector<IoSlice> slices;
      const int64_t n = std::min(block, size - at);
      if (!image.Fill(at, n, mode, buffer, &slices).ok()) ++errors;
      auto to = static_cast<size_t>(at);
      for (const IoSlice& slice : slices) {
        file.replace(to, slice.nbytes,
                     reinterpret_cast<const char*>(slice.data), slice.nbytes);
        to += slice.nbytes;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  CHECK(errors == 0);
  return file;
}

void CheckImage(uint64_t seed) {
  INFO("seed " << seed);
  Random random(seed);
  ImageCase test;
  for (int64_t i = random.Between(0, 12); i > 0; --i) {
    if (random.OneIn(3)) {
      test.AddObject(conformance::RandomBytes(
          random.engine(), static_cast<size_t>(random.Between(0, 5000))));
    } else {
      test.AddRandomTensor(&random);
    }
  }
  FakeDevice device;
  BlockChecksums checksums;
  FileImage image(test.items, device, checksums);
  // Blocks are pieces of the checksum grid, as the pipeline cuts them.
  const int64_t block = random.Pick({4096, 65536, 1 << 20, 4 << 20});
  const auto mode = random.OneIn(2) ? FillMode::kCopy : FillMode::kReference;
  const std::string file = FillAll(image, test.end(), block, mode,
                                   static_cast<int>(random.Between(1, 3)));
  CHECK((file == test.expected));
  std::vector<uint32_t> crcs;
  for (size_t at = 0; at < file.size(); at += size_t{kChecksumBlock}) {
    crcs.push_back(Crc32(0, AsBytes(file.substr(at, kChecksumBlock))));
  }
  CHECK(checksums.Finish(test.end()) == crcs);
  for (const ImageItem& item : test.items) {
    const auto* tensor = std::get_if<TensorImage>(&item.content);
    if (tensor == nullptr) continue;
    const std::string_view bytes =
        std::string_view(file).substr(static_cast<size_t>(item.file_offset),
                                      static_cast<size_t>(item.length));
    const auto parsed = ParseItem(bytes);
    REQUIRE(parsed.ok());
    CHECK(parsed->sizes == tensor->spec.sizes);
    CHECK(VerifyItemCrcs(AsBytes(bytes)).ok());
  }
}

TEST_CASE(
    "a file is what the items' format says, however it is cut and by "
    "however many threads it is filled",
    "[storage]") {
  for (uint64_t seed = 1; seed <= 120; ++seed) CheckImage(seed);
}

TEST_CASE("an error of a device's copy is that of the fill", "[storage]") {
  std::vector<std::byte> memory(4096);
  TensorView view = FakeDevice::OnDevice(
      ContiguousView(memory.data(), DType::kFloat32, {4, 8}));
  FakeDevice device;
  device.FailFrom(1);
  for (bool contiguous : {true, false}) {
    if (!contiguous) view.strides = {16, 1};
    ImageCase test;
    test.AddTensor(view, DType::kFloat32, std::string(128, '\0'));
    BlockChecksums checksums;
    FileImage image(test.items, device, checksums);
    std::vector<std::byte> buffer(static_cast<size_t>(test.end()));
    std::vector<IoSlice> slices;
    const Status status =
        image.Fill(0, test.end(), FillMode::kCopy, buffer, &slices);
    CHECK(status.code() == absl::StatusCode::kUnknown);
  }
}

TEST_CASE("Cancel wakes a fill that waits for data of others", "[storage]") {
  std::vector<std::byte> memory(1 << 20);
  ImageCase test;
  test.AddTensor(ContiguousView(memory.data(), DType::kUInt8, {1 << 20}),
                 DType::kUInt8, std::string(1 << 20, '\0'));
  FakeDevice device;
  BlockChecksums checksums;
  FileImage image(test.items, device, checksums);
  Status status;
  std::thread waiting([&] {
    std::vector<std::byte> buffer(4096);
    std::vector<IoSlice> slices;
    const int64_t begin = test.end() / 4096 * 4096;
    status =
        image.Fill(begin, test.end() - begin, FillMode::kCopy, buffer, &slices);
  });
  image.Cancel();
  waiting.join();
  CHECK(status.code() == absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace dcp
