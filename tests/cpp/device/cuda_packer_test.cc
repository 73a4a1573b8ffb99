#include "device/cuda_packer.h"

#include <catch2/catch.hpp>
#include <vector>

namespace dcp {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

/// Copies of these sizes, one behind the other.
std::vector<DeviceCopy> Copies(const std::vector<size_t>& sizes) {
  std::vector<DeviceCopy> copies;
  size_t offset = 12345;
  for (size_t nbytes : sizes) {
    copies.push_back({.offset = offset, .nbytes = nbytes});
    offset += nbytes;
  }
  return copies;
}

TEST_CASE("small neighbors are packed, as many as there is room for",
          "[device]") {
  struct Case {
    std::vector<size_t> sizes;
    size_t count;
    bool is_packed;
  };
  const std::vector<size_t> many(100, kMiB);
  const std::vector<size_t> tiny(CudaPacker::kMaxPieces + 5, 1);
  for (const Case& test :
       {Case{{8}, 1, false}, Case{{8, 8}, 2, true}, Case{{8, 8, 8}, 3, true},
        Case{{8, 8, kMiB + 1, 8}, 2, true}, Case{{8, kMiB + 1}, 1, false},
        Case{{kMiB + 1, 8, 8}, 1, false}, Case{many, 32, true},
        Case{tiny, CudaPacker::kMaxPieces, true}}) {
    const auto copies = Copies(test.sizes);
    const PackRun run = NextPackRun(copies);
    INFO(test.sizes.size() << " copies, the first of " << test.sizes[0]);
    CHECK(run.copies.data() == copies.data());
    CHECK(run.copies.size() == test.count);
    CHECK(run.is_packed == test.is_packed);
  }
}

}  // namespace
}  // namespace dcp
