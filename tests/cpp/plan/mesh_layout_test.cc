#include "plan/mesh_layout.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "dcp/plan.h"
#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

struct Case {
  TensorLayout layout;
  Dims mesh;
};

Dims ReadDims(std::istream* in, int64_t count) {
  Dims dims;
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = 0;
    *in >> value;
    dims.push_back(value);
  }
  return dims;
}

Dims ReadCounted(std::istream* in) { return ReadDims(in, ReadDims(in, 1)[0]); }

Case ReadCase(std::istream* in) {
  Case read;
  read.layout.global_size = ReadCounted(in);
  read.mesh = ReadCounted(in);
  for (int d = 0; d < read.mesh.size(); ++d) {
    const Dims rule = ReadDims(in, 3);
    read.layout.placements.push_back(
        {.kind = static_cast<Placement::Kind>(rule[0]),
         .dim = static_cast<int>(rule[1]),
         .split_factor = rule[2]});
  }
  return read;
}

/// As the golden cases; some are FSDP2's over tensor parallelism.
Case RandomCase(Random* random) {
  Case made;
  made.layout.global_size = random->Sizes(3, 40);
  const int ndim = made.layout.global_size.size();
  for (int64_t d = random->Between(1, 3); d > 0; --d) {
    made.mesh.push_back(random->Between(1, 5));
    Placement placement;
    if (ndim > 0 && !random->OneIn(3)) {
      const int dim = static_cast<int>(random->Between(0, ndim - 1));
      placement = random->OneIn(3)
                      ? Placement::StridedShard(dim, random->Between(1, 5))
                      : Placement::Shard(dim);
    }
    made.layout.placements.push_back(placement);
  }
  return made;
}

int64_t RankCount(const Case& of) { return Numel(of.mesh); }

Box ChunkOf(const Case& of, int64_t rank) {
  return *ChunkAt(of.layout, of.mesh, CoordinateOf(rank, of.mesh));
}

bool IsSharded(const Case& of, int dim) {
  for (const Placement& placement : of.layout.placements) {
    if (placement.shards(dim)) return true;
  }
  return false;
}

TEST_CASE("chunks are where torch puts them", "[mesh]") {
  std::ifstream file(std::string(DCP_GOLDEN_DIR) + "/mesh-torch-2.13.0.txt");
  int cases = 0;
  int empty = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    std::istringstream in(line);
    const Case read = ReadCase(&in);
    INFO(ToString(read.layout, read.mesh));
    for (int64_t rank = 0; rank < RankCount(read); ++rank) {
      Box torchs;
      torchs.sizes = ReadDims(&in, read.layout.global_size.size());
      torchs.offsets = ReadDims(&in, read.layout.global_size.size());
      REQUIRE(in);
      REQUIRE(ChunkOf(read, rank) == torchs);
      empty += torchs.numel() == 0 ? 1 : 0;
    }
  }
  CHECK(cases == 400);
  CHECK(empty > 500);
}

TEST_CASE("whole runs are chunks that are disjoint and cover", "[mesh]") {
  Random random(1);
  int whole = 0;
  int broken = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const Case made = RandomCase(&random);
    INFO(ToString(made.layout, made.mesh));
    std::set<Dims> offsets;
    std::vector<Box> chunks;
    for (int64_t rank = 0; rank < RankCount(made); ++rank) {
      const Box chunk = ChunkOf(made, rank);
      if (offsets.insert(chunk.offsets).second) chunks.push_back(chunk);
    }
    Metadata metadata;
    metadata.Add("a", TensorOf(made.layout.global_size, chunks));
    const bool is_valid =
        ValidateChunks(metadata, CoverageRule::kRequireFull).ok();
    if (HasWholeRuns(made.layout, made.mesh)) {
      ++whole;
      REQUIRE(is_valid);
    } else {
      ++broken;
      if (Numel(made.layout.global_size) > 0) REQUIRE_FALSE(is_valid);
    }
  }
  CHECK(whole > 2000);
  CHECK(broken > 200);
}

TEST_CASE("the first empty shard is the one that a search finds", "[mesh]") {
  Random random(2);
  int found = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const Case made = RandomCase(&random);
    INFO(ToString(made.layout, made.mesh));
    for (int dim = 0; dim < made.layout.global_size.size(); ++dim) {
      if (!IsSharded(made, dim)) continue;
      for (int64_t rank = 0; rank < RankCount(made); ++rank) {
        if (ChunkOf(made, rank).sizes[dim] > 0) continue;
        // The first one has 0 in all other dimensions of the mesh.
        REQUIRE(FirstEmptyShard(made.layout, made.mesh, dim) ==
                CoordinateOf(rank, made.mesh));
        ++found;
        break;
      }
    }
  }
  CHECK(found > 300);
}

TEST_CASE("sizes near the end of 64 bits do not overflow", "[mesh]") {
  constexpr int64_t kMost = INT64_MAX;
  const TensorLayout layout{
      .global_size = {kMost},
      .placements = {Placement::StridedShard(0, kMost - 1),
                     Placement::Shard(0)}};
  const Dims mesh = {3, 1 << 20};
  const StatusOr<Box> last = ChunkAt(layout, mesh, {2, (1 << 20) - 1});
  REQUIRE(last.ok());
  CHECK(last->offsets == Dims{kMost});
  const TensorLayout plain{.global_size = {kMost},
                           .placements = {Placement::Shard(0)}};
  const StatusOr<Box> chunk = ChunkAt(plain, {1 << 30}, {(1 << 30) - 1});
  REQUIRE(chunk.ok());
  CHECK(chunk->offsets[0] + chunk->sizes[0] == kMost);
}

TEST_CASE("a layout that cannot be is named", "[mesh]") {
  const auto error = [](TensorLayout layout, const Dims& mesh,
                        const Dims& coordinate) {
    const Status status = ChunkAt(layout, mesh, coordinate).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    return std::string(Message(status));
  };
  const Placement rows = Placement::Shard(0);
  CHECK_THAT(error({{4}, 0, {rows}}, {2, 2}, {0, 0}),
             Contains("[4] over [2, 2] as (S(0)) has 1 placements"));
  CHECK_THAT(error({{4}, 0, {Placement::Shard(1)}}, {2}, {0}),
             Contains("shards of dimension 1"));
  CHECK_THAT(error({{4}, 0, {Placement::StridedShard(0, 0)}}, {2}, {0}),
             Contains("(_S(0, 0)) has a split factor below 1"));
  CHECK_THAT(error({{-4}, 0, {rows}}, {2}, {0}), Contains("impossible size"));
  CHECK_THAT(error({{4}, 0, {rows}}, {0}, {0}), Contains("device mesh"));
  CHECK_THAT(error({{4}, 0, {rows}}, {2}, {2}), Contains("outside of a mesh"));
  CHECK_THAT(error({{4}, 0, {rows}}, {2}, {0, 0}), Contains("outside"));
}

}  // namespace
}  // namespace dcp
