#include "plan/column_groups.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

/// The columns of a job in which rank i holds chunk i of one tensor.
PlanColumns ColumnsOf(const Dims& size, const std::vector<Box>& chunks) {
  std::vector<std::string> messages;
  for (const Box& chunk : chunks) {
    messages.push_back(
        SerializePlanMessage(PlanOf({TensorItem("w", size, chunk)})));
  }
  StatusOr<PlanColumns> columns = PlanColumns::Read(messages);
  REQUIRE(columns.ok());
  return *std::move(columns);
}

bool Tile(const Dims& size, const std::vector<Box>& chunks) {
  const PlanColumns columns = ColumnsOf(size, chunks);
  ColumnGroups groups(columns);
  groups.Group(columns.keys()[0]);
  return groups.Tile();
}

TEST_CASE("groups are ordered by offsets, their records by rank", "[groups]") {
  Random random(1);
  // Few are compared, many are sorted by digits.
  for (const int copies : {1, 3, 40}) {
    const Dims size = {64, 96};
    const std::vector<Box> tiles = GridChunks(size, {4, 8});
    std::vector<Box> chunks;
    for (int i = 0; i < copies; ++i) {
      chunks.insert(chunks.end(), tiles.begin(), tiles.end());
    }
    std::shuffle(chunks.begin(), chunks.end(), random.engine);
    const PlanColumns columns = ColumnsOf(size, chunks);
    ColumnGroups groups(columns);
    groups.Group(columns.keys()[0]);
    REQUIRE(groups.size() == tiles.size());
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto records = groups.RecordsOf(i);
      REQUIRE(records.size() == static_cast<size_t>(copies));
      CHECK(std::is_sorted(records.begin(), records.end()));
      for (const uint32_t record : records) {
        CHECK(columns.ChunkOf(columns.keys()[0], record) == tiles[i]);
      }
    }
    CHECK(groups.Tile());
  }
}

TEST_CASE("what is seen to tile a tensor has no gap and no overlap",
          "[groups]") {
  Random random(2);
  int tiled = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const Dims size = random.Sizes(3, 8);
    std::vector<Box> chunks = RandomPartition(&random, size, 6);
    if (!chunks.empty() && random.OneIn(2)) {
      Box& chunk = chunks[0];
      chunk = random.PartOf(size);
    }
    Metadata metadata;
    // A group has one chunk: equal offsets of several sizes are refused before.
    std::vector<Box> distinct;
    for (const Box& chunk : chunks) {
      if (std::none_of(distinct.begin(), distinct.end(), [&](const Box& other) {
            return other.offsets == chunk.offsets;
          })) {
        distinct.push_back(chunk);
      }
    }
    metadata.Add("w", TensorOf(size, distinct));
    const bool is_valid =
        ValidateChunks(metadata, CoverageRule::kRequireFull).ok();
    const bool tiles = Tile(size, distinct);
    if (tiles) REQUIRE(is_valid);
    tiled += tiles ? 1 : 0;
  }
  CHECK(tiled > 1000);
}

TEST_CASE("straight cuts of any dimension tile", "[groups]") {
  CHECK(Tile({6, 4}, GridChunks({6, 4}, {2, 4})));
  CHECK(Tile({6, 4}, GridChunks({6, 4}, {6, 1})));
  CHECK(Tile({7, 5}, GridChunks({7, 5}, {3, 2})));
  CHECK(Tile({}, {Box{}}));
  CHECK(Tile({0, 3}, {WholeBox({0, 3})}));
  // The rest is for box_overlap.h to judge.
  CHECK_FALSE(Tile({7, 7}, SpiralChunks(3)));
  std::vector<Box> gap = GridChunks({6, 4}, {2, 4});
  gap.pop_back();
  CHECK_FALSE(Tile({6, 4}, gap));
}

}  // namespace
}  // namespace dcp
