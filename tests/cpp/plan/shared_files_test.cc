#include "plan/shared_files.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = kKiB * kKiB;
constexpr ExtentOptions kOptions{.alignment = 4 * kKiB, .min_nbytes = kMiB};

/// One file of tensors behind a header.
struct File {
  std::vector<SharedTensor> tensors;
  std::vector<SharedChunk> chunks;
  int64_t nbytes = 0;

  explicit File(int64_t header_nbytes) : nbytes(header_nbytes) {}

  void Add(const Dims& sizes, int64_t itemsize = 4) {
    tensors.push_back({.begin = nbytes, .sizes = sizes, .itemsize = itemsize});
    nbytes += Numel(sizes) * itemsize;
  }
  void Hold(Box box, int rank) {
    chunks.push_back(
        {.tensor = tensors.size() - 1, .box = std::move(box), .rank = rank});
  }
  /// As FSDP does it: rows, as equal as can be, the last rank with less.
  void AddRows(const Dims& sizes, int ranks) {
    Add(sizes);
    const int64_t rows = (sizes[0] + ranks - 1) / ranks;
    for (int rank = 0; rank < ranks; ++rank) {
      Box box = WholeBox(sizes);
      box.offsets[0] = std::min(sizes[0], rank * rows);
      box.sizes[0] = std::min(rows, sizes[0] - box.offsets[0]);
      Hold(std::move(box), rank);
    }
  }
  void AddColumns(const Dims& sizes, int ranks) {
    Add(sizes);
    const int64_t columns = sizes[1] / ranks;
    for (int rank = 0; rank < ranks; ++rank) {
      Hold({.offsets = {0, rank * columns}, .sizes = {sizes[0], columns}},
           rank);
    }
  }

  std::vector<OwnedExtent> Assign(std::vector<int64_t>* load) const {
    return AssignExtents(nbytes, tensors, chunks, kOptions, load);
  }
};

/// Every byte has one owner, borders are aligned, the load is what it says.
void RequireSound(const File& file, const std::vector<OwnedExtent>& extents,
                  const std::vector<int64_t>& load) {
  REQUIRE_FALSE(extents.empty());
  REQUIRE(extents.front().begin == 0);
  REQUIRE(extents.back().end == file.nbytes);
  std::vector<int64_t> written(load.size());
  for (size_t i = 0; i < extents.size(); ++i) {
    REQUIRE(extents[i].begin < extents[i].end);
    REQUIRE(extents[i].begin % kOptions.alignment == 0);
    if (i > 0) REQUIRE(extents[i].begin == extents[i - 1].end);
    written[static_cast<size_t>(extents[i].owner)] +=
        extents[i].end - extents[i].begin;
  }
  REQUIRE(written == load);
}

TEST_CASE("rows are written by who has them, but for the edges",
          "[plan][shared_files]") {
  File file(1000);
  file.AddRows({4096, 1024}, 4);  // 16 MiB: 4 MiB a rank
  std::vector<int64_t> load(4);
  const auto extents = file.Assign(&load);
  RequireSound(file, extents, load);
  REQUIRE(extents.size() == 4);
  for (int rank = 0; rank < 4; ++rank) {
    const OwnedExtent& extent = extents[static_cast<size_t>(rank)];
    CHECK(extent.owner == rank);
    const int64_t held = 1000 + (rank + 1) * 4 * kMiB;
    CHECK(held - extent.end < kOptions.alignment);
  }
}

TEST_CASE("a tensor cut across its rows is written in equal runs",
          "[plan][shared_files]") {
  File file(64);
  file.AddColumns({4096, 1024}, 2);
  std::vector<int64_t> load(2);
  const auto extents = file.Assign(&load);
  RequireSound(file, extents, load);
  REQUIRE(extents.size() == 2);
  CHECK(extents[0].end == 8 * kMiB);
  CHECK(extents[0].owner == 0);
  CHECK(extents[1].owner == 1);
}

TEST_CASE("short pieces are put together", "[plan][shared_files]") {
  File file(64);
  for (int i = 0; i < 1000; ++i) file.AddRows({64, 64}, 8);  // 16 KiB each
  std::vector<int64_t> load(8);
  const auto extents = file.Assign(&load);
  RequireSound(file, extents, load);
  for (size_t i = 0; i + 1 < extents.size(); ++i) {
    CHECK(extents[i].end - extents[i].begin >=
          kOptions.min_nbytes - kOptions.alignment);
  }
  // All ranks have the same; none writes much more than another.
  const auto [low, high] = std::minmax_element(load.begin(), load.end());
  CHECK(*high - *low <= 2 * kOptions.min_nbytes);
}

TEST_CASE("a file without data has one writer", "[plan][shared_files]") {
  File file(64);
  std::vector<int64_t> load(3);
  RequireSound(file, file.Assign(&load), load);
  file.AddRows({0, 4}, 3);
  load.assign(3, 0);
  const auto extents = file.Assign(&load);
  RequireSound(file, extents, load);
  CHECK(extents.size() == 1);
}

TEST_CASE("extents of random layouts are sound", "[plan][shared_files]") {
  Random random(21);
  for (int round = 0; round < 200; ++round) {
    File file(8 * random.Between(1, 200'000));
    const auto ranks = static_cast<int>(random.Between(1, 9));
    for (int64_t t = random.Between(1, 12); t > 0; --t) {
      Dims sizes;
      for (int64_t d = random.Between(0, 3); d > 0; --d) {
        sizes.push_back(random.Between(random.OneIn(20) ? 0 : 1, 200));
      }
      file.Add(sizes, int64_t{1} << random.Between(0, 3));
      for (Box& box : RandomPartition(&random, sizes, ranks)) {
        file.Hold(std::move(box),
                  static_cast<int>(random.Between(0, ranks - 1)));
      }
    }
    std::vector<int64_t> load(static_cast<size_t>(ranks));
    RequireSound(file, file.Assign(&load), load);
  }
}

}  // namespace
}  // namespace dcp
