#include "storage/rank_layout.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "format/safetensors_sharding.h"
#include "plan/plan_cases.h"
#include "storage/shared_division.h"

namespace dcp {
namespace {

struct Part {
  int rank = 0;
  std::string fqn;
  Box box;
};

/// Of float32 tensors of these sizes, each part written by its rank.
GlobalPlan PlanOf(size_t world_size,
                  const std::vector<std::pair<std::string, Dims>>& tensors,
                  const std::vector<Part>& parts) {
  GlobalPlan plan;
  plan.plans.resize(world_size);
  for (const auto& [fqn, sizes] : tensors) {
    std::vector<Box> chunks;
    for (const Part& part : parts) {
      if (part.fqn != fqn) continue;
      chunks.push_back(part.box);
      auto& items = plan.plans[static_cast<size_t>(part.rank)].items;
      WriteItem item = TensorItem(fqn, sizes, part.box);
      item.source = std::ssize(items);
      items.push_back(std::move(item));
    }
    plan.metadata.Add(fqn, TensorOf(sizes, chunks));
  }
  return plan;
}

GlobalPlan RowsOfTwoRanks() {
  return PlanOf(3, {{"w", {4, 2}}, {"scalar", {}}},
                {{0, "w", {.offsets = {0, 0}, .sizes = {3, 2}}},
                 {1, "w", {.offsets = {3, 0}, .sizes = {1, 2}}},
                 {1, "scalar", {}}});
}

std::vector<std::string> NamesOf(const SharedLayout& layout) {
  std::vector<std::string> names;
  for (const SharedLayoutFile& file : layout.files) names.push_back(file.name);
  return names;
}

TEST_CASE("each rank's file has its parts and says where they belong",
          "[storage][rank_layout]") {
  const auto layout = LayOutRankFiles(RowsOfTwoRanks(), {});
  REQUIRE(layout.ok());
  CHECK(
      NamesOf(*layout) ==
      std::vector<std::string>{"shard-00001-model-00001-of-00001.safetensors",
                               "shard-00002-model-00001-of-00001.safetensors"});
  const SharedLayoutFile& file = layout->files[1];
  CHECK(file.rank == 1);
  CHECK(file.head.header.metadata ==
        std::map<std::string, std::string>{
            {"DCP_SHARDING_INFO", R"({"scalar": {"saved_offsets": []}, )"
                                  R"("w": {"saved_offsets": [3, 0]}})"},
            {"DCP_VERSION", "1.0"},
            {"format", "pt"}});
  CHECK(file.fqns == std::vector<std::string>{"scalar", "w"});
  CHECK(file.tensors[1].sizes == Dims{1, 2});
  CHECK(file.tensors[1].origin == Dims{3, 0});
  CHECK(file.extents == std::vector<OwnedExtent>{
                            {.begin = 0, .end = file.nbytes(), .owner = 1}});
  CHECK(layout->total_nbytes == 36);
}

TEST_CASE("a rank is told of its own files only", "[storage][rank_layout]") {
  const auto layout = LayOutRankFiles(RowsOfTwoRanks(), {});
  REQUIRE(layout.ok());
  CHECK(FilesOfRanks(*layout, 3) ==
        std::vector<std::vector<size_t>>{{0}, {1}, {}});
  const std::vector<SharedPart> parts = PartsOfRanks(*layout, 3);
  REQUIRE(parts[1].files.size() == 1);
  CHECK(parts[1].files[0].head == layout->files[1].head.bytes);
  CHECK(parts[2].files.empty());
  const auto parsed = ParseSharedPart(SerializeSharedPart(parts[1]));
  REQUIRE(parsed.ok());
  CHECK(*parsed == parts[1]);
}

TEST_CASE("a mapping gives each rank several files, by torch's names",
          "[storage][rank_layout]") {
  const auto layout =
      LayOutRankFiles(RowsOfTwoRanks(), {{"w", 3}, {"scalar", 1}, {"x", 4}});
  REQUIRE(layout.ok());
  CHECK(
      NamesOf(*layout) ==
      std::vector<std::string>{"shard-00001-model-00003-of-00004.safetensors",
                               "shard-00002-model-00001-of-00004.safetensors",
                               "shard-00002-model-00003-of-00004.safetensors"});
  const Status missing = LayOutRankFiles(RowsOfTwoRanks(), {{"w", 1}}).status();
  CHECK(missing.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(missing)),
             Catch::Contains("has no file for scalar"));
}

TEST_CASE("several chunks of a tensor of one rank lie in several files",
          "[storage][rank_layout]") {
  const auto layout =
      LayOutRankFiles(PlanOf(1, {{"w", {4}}, {"v", {1}}},
                             {{0, "w", {.offsets = {0}, .sizes = {1}}},
                              {0, "w", {.offsets = {1}, .sizes = {1}}},
                              {0, "w", {.offsets = {2}, .sizes = {2}}},
                              {0, "v", {.offsets = {0}, .sizes = {1}}}}),
                      {});
  REQUIRE(layout.ok());
  CHECK(
      NamesOf(*layout) ==
      std::vector<std::string>{"shard-00001-model-00001-of-00003.safetensors",
                               "shard-00001-model-00002-of-00003.safetensors",
                               "shard-00001-model-00003-of-00003.safetensors"});
  CHECK(layout->files[0].fqns == std::vector<std::string>{"v", "w"});
  CHECK(layout->files[2].tensors[0].origin == Dims{2});
}

TEST_CASE("a state without tensors is one file", "[storage][rank_layout]") {
  const auto layout = LayOutRankFiles(PlanOf(2, {}, {}), {});
  REQUIRE(layout.ok());
  REQUIRE(layout->files.size() == 1);
  CHECK(layout->files[0].rank == 0);
  CHECK(layout->files[0].head.header.metadata.at(
            std::string(kShardingInfoKey)) == "{}");
}

TEST_CASE("parts that leave a gap are refused", "[storage][rank_layout]") {
  const auto layout = LayOutRankFiles(
      PlanOf(1, {{"w", {4}}}, {{0, "w", {.offsets = {0}, .sizes = {3}}}}), {});
  CHECK(layout.status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
