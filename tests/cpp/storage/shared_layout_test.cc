#include "storage/shared_layout.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

GlobalPlan PlanOf(const std::vector<std::pair<std::string, Dims>>& tensors) {
  GlobalPlan plan;
  plan.plans.resize(1);
  for (const auto& [fqn, sizes] : tensors) {
    plan.metadata.Add(fqn, TensorOf(sizes, {WholeBox(sizes)}));
    plan.plans[0].items.push_back(TensorItem(fqn, sizes, WholeBox(sizes)));
  }
  return plan;
}

TEST_CASE("files are filled in the order of tensors, or as a mapping says",
          "[storage][shared_layout]") {
  const GlobalPlan plan = PlanOf({{"a", {100}}, {"b", {100}}, {"c", {50}}});
  auto layout = LayOutSharedFiles(plan, {.max_file_nbytes = 600});
  REQUIRE(layout.ok());
  REQUIRE(layout->files.size() == 2);
  CHECK(layout->files[0].fqns == std::vector<std::string>{"a"});
  CHECK(layout->files[1].fqns == std::vector<std::string>{"b", "c"});
  CHECK(layout->total_nbytes == 1000);
  CHECK(layout->total_parameters == 250);

  layout = LayOutSharedFiles(
      plan, {.file_numbers = {{"a", 3}, {"b", 1}, {"c", 3}, {"gone", 2}}});
  REQUIRE(layout.ok());
  REQUIRE(layout->files.size() == 2);
  CHECK(layout->files[1].fqns == std::vector<std::string>{"a", "c"});

  layout = LayOutSharedFiles(plan, {.file_numbers = {{"a", 1}}});
  CHECK(layout.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(layout.status().message()) ==
        "fqn_to_index_mapping has no file for b");
}

TEST_CASE("another name of a tensor is stored in the metadata",
          "[storage][shared_layout]") {
  GlobalPlan plan = PlanOf({{"embed", {4, 2}}, {"w", {3}}, {"head", {4, 2}}});
  plan.plans[0].ties = {{"head", "embed"}};
  auto layout = LayOutSharedFiles(plan, {});
  REQUIRE(layout.ok());
  CHECK(layout->files[0].fqns == std::vector<std::string>{"embed", "w"});
  CHECK(
      layout->files[0].head.header.metadata ==
      std::map<std::string, std::string>{{"format", "pt"}, {"head", "embed"}});
  CHECK(layout->total_nbytes == 44);
  SECTION("unless one rank holds memory of its own for it") {
    plan.plans.emplace_back();
    plan.plans[0].items[2].chunk.sizes = {2, 2};
    plan.plans[1].items.push_back(
        TensorItem("head", {4, 2}, {.offsets = {2, 0}, .sizes = {2, 2}}));
    layout = LayOutSharedFiles(plan, {});
    REQUIRE(layout.ok());
    CHECK(layout->aliases.empty());
    CHECK(layout->files[0].fqns.size() == 3);
  }
}

TEST_CASE("a name that the metadata has a meaning for is no other name",
          "[storage][shared_layout]") {
  GlobalPlan plan = PlanOf({{"embed", {4, 2}}, {"format", {4, 2}}});
  plan.plans[0].ties = {{"format", "embed"}};
  const auto layout = LayOutSharedFiles(plan, {});
  REQUIRE(layout.ok());
  CHECK(layout->aliases.empty());
  CHECK(layout->files[0].fqns == std::vector<std::string>{"embed", "format"});
  CHECK(layout->files[0].head.header.metadata ==
        std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("what safetensors cannot store is refused by name",
          "[storage][shared_layout]") {
  GlobalPlan plan = PlanOf({{"a", {2}}});
  plan.metadata.Add("step", BytesStorageMetadata{});
  CHECK(std::string(LayOutSharedFiles(plan, {}).status().message())
            .starts_with("step is no tensor"));
  plan = {};
  plan.plans.resize(1);
  plan.metadata.Add(
      "z", TensorStorageMetadata{.properties = {.dtype = DType::kComplex128},
                                 .size = {2},
                                 .chunks = {WholeBox({2})}});
  CHECK_THAT(std::string(LayOutSharedFiles(plan, {}).status().message()),
             Catch::Contains("z of dtype complex128"));
}

}  // namespace
}  // namespace dcp
