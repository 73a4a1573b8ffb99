#include "simulate/simulated_job.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace dcp {
namespace {

using Catch::Matchers::Contains;

SimulatedJob JobOf(std::string_view model, const ParallelDegrees& degrees) {
  const auto shape = ModelShapeOf(model);
  REQUIRE(shape.ok());
  auto job = MakeSimulatedJob(*shape, degrees);
  INFO(Message(job.status()));
  REQUIRE(job.ok());
  return *std::move(job);
}

/// The layout of a key of a stage, as text.
std::string LayoutOf(const SimulatedJob& job, size_t stage,
                     const std::string& fqn) {
  const StateSpec& spec = job.specs[stage];
  for (const StateEntry& entry : spec.entries) {
    if (entry.fqn != fqn) continue;
    const auto* laid_out = std::get_if<LaidOutTensor>(&entry.value);
    if (laid_out == nullptr) return "whole";
    const TensorLayout& layout = spec.layouts[laid_out->layout];
    return ToString(layout, spec.meshes[layout.mesh].sizes);
  }
  return "nowhere";
}

TEST_CASE("a flat job has torch's items: three shards and a step a parameter",
          "[simulate]") {
  const SimulatedJob job = JobOf("llama3-70b", {.dp = 512});
  CHECK(job.ranks() == 512);
  CHECK(job.specs.size() == 1);
  CHECK(job.specs[0].entries.size() == 2892);
  CHECK(job.items() == 512 * 2892);
  CHECK(LayoutOf(job, 0, "model.norm.weight") == "[8192] over [512] as (S(0))");
  CHECK(LayoutOf(job, 0, "optim.state.norm.weight.step") == "whole");
}

TEST_CASE("tensor parallelism shards as TorchTitan's plan says", "[simulate]") {
  const SimulatedJob job =
      JobOf("llama3-70b", {.dp_replicate = 2, .dp = 4, .tp = 8});
  const std::string prefix = "model.layers.79.";
  CHECK(LayoutOf(job, 0, prefix + "attention.wq.weight") ==
        "[8192, 8192] over [2, 4, 8] as (R, _S(0, 8), S(0))");
  CHECK(LayoutOf(job, 0, prefix + "attention.wo.weight") ==
        "[8192, 8192] over [2, 4, 8] as (R, S(0), S(1))");
  CHECK(LayoutOf(job, 0, prefix + "ffn_norm.weight") ==
        "[8192] over [2, 4, 8] as (R, S(0), R)");
  CHECK(LayoutOf(job, 0, "optim.state.output.weight.exp_avg") ==
        "[128256, 8192] over [2, 4, 8] as (R, _S(0, 8), S(0))");
}

TEST_CASE("stages have layers as TorchTitan divides them", "[simulate]") {
  // 82 units: the first two stages have one more.
  const SimulatedJob job = JobOf("llama3-70b", {.dp = 2, .pp = 4});
  REQUIRE(job.specs.size() == 4);
  CHECK(job.spec_of_rank == std::vector<uint32_t>{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK(LayoutOf(job, 0, "model.tok_embeddings.weight") != "nowhere");
  CHECK(LayoutOf(job, 0, "model.layers.19.ffn_norm.weight") != "nowhere");
  CHECK(LayoutOf(job, 0, "model.layers.20.ffn_norm.weight") == "nowhere");
  CHECK(LayoutOf(job, 1, "model.layers.20.ffn_norm.weight") != "nowhere");
  CHECK(LayoutOf(job, 3, "model.layers.79.ffn_norm.weight") != "nowhere");
  CHECK(LayoutOf(job, 3, "model.output.weight") != "nowhere");
  CHECK(job.specs[3].meshes[0].ranks == std::vector<uint32_t>{6, 7});
}

TEST_CASE("experts are divided over ranks of their own mesh", "[simulate]") {
  const std::string w1 = "model.layers.3.moe.experts.w1";
  const std::string bias = "model.layers.3.moe.expert_bias";
  // 256 experts over 8 * 32 ranks, then over more ranks than experts.
  const SimulatedJob job = JobOf("deepseek-v3", {.dp = 256, .ep = 32});
  CHECK(LayoutOf(job, 0, w1) ==
        "[256, 2048, 7168] over [8, 32] as (_S(0, 32), S(0))");
  CHECK(LayoutOf(job, 0, bias) == "whole");
  CHECK(LayoutOf(job, 0, "optim.state.layers.3.moe.expert_bias.exp_avg") ==
        "nowhere");
  const SimulatedJob large =
      JobOf("deepseek-v3", {.dp = 256, .tp = 4, .ep = 64});
  CHECK(LayoutOf(large, 0, w1) ==
        "[256, 2048, 7168] over [16, 64] as (S(1), S(0))");
  const SimulatedJob without = JobOf("deepseek-v3", {.dp = 4, .tp = 2});
  CHECK(LayoutOf(without, 0, w1) ==
        "[256, 2048, 7168] over [4, 2] as (S(0), S(1))");
}

TEST_CASE("a job of one rank holds whole tensors", "[simulate]") {
  const SimulatedJob job = JobOf("llama3-70b", {});
  CHECK(job.specs[0].meshes.empty());
  CHECK(LayoutOf(job, 0, "model.norm.weight") == "whole");
}

TEST_CASE("the ranks' local plans cover every tensor once", "[simulate]") {
  const SimulatedJob job =
      JobOf("deepseek-v3", {.dp = 4, .tp = 2, .pp = 2, .ep = 4});
  LocalPlans plans(job);
  std::vector<SavePlan> all;
  for (uint32_t rank = 0; rank < job.ranks(); ++rank) {
    all.push_back(plans.Of(rank));
  }
  const auto global = CreateGlobalSavePlan(std::span<const SavePlan>(all), {});
  INFO(Message(global.status()));
  REQUIRE(global.ok());
}

TEST_CASE("degrees that cannot be are errors that say why", "[simulate]") {
  struct Case {
    std::string model;
    ParallelDegrees degrees;
    std::string why;
  };
  const auto wrong = GENERATE(
      Case{"llama3-70b", {.dp = 0}, "must be at least 1"},
      Case{"llama3-70b", {.dp = int64_t{1} << 24, .tp = 2}, "16777216 ranks"},
      Case{"llama3-70b", {.pp = 83}, "more than the 82 layers"},
      Case{"llama3-70b", {.dp = 8, .ep = 8}, "the model's 0 experts"},
      Case{"deepseek-v3", {.dp = 8, .ep = 0}, "does not divide"},
      Case{"deepseek-v3", {.dp = 9, .ep = 3}, "256 experts"},
      Case{"deepseek-v3", {.dp = 2, .ep = 4}, "must divide dp * tp = 2"},
      Case{"deepseek-v3", {.dp = 2, .tp = 4, .ep = 2}, "multiple of tp=4"});
  const auto shape = ModelShapeOf(wrong.model);
  REQUIRE(shape.ok());
  const Status status = MakeSimulatedJob(*shape, wrong.degrees).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Contains(wrong.why));
}

}  // namespace
}  // namespace dcp
