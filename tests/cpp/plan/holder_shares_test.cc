#include "plan/holder_shares.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "plan/closed_form_plan.h"
#include "plan/state_cases.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

std::vector<int64_t> LoadsOf(const Job& job, const GlobalPlanOptions& options) {
  const auto plan = ClosedFormPlan::Make(job.specs, job.spec_of_rank, options);
  INFO(Message(plan.status()));
  REQUIRE(plan.ok());
  std::vector<int64_t> loads;
  for (uint32_t rank = 0; rank < job.spec_of_rank.size(); ++rank) {
    int64_t& load = loads.emplace_back();
    for (const WriteItem& item : plan->ShareOf(rank).items) {
      load += item.nbytes;
    }
  }
  return loads;
}

/// The largest load over the mean.
double Imbalance(const std::vector<int64_t>& loads) {
  const auto total = std::accumulate(loads.begin(), loads.end(), int64_t{0});
  const int64_t most = *std::max_element(loads.begin(), loads.end());
  return static_cast<double>(most) * static_cast<double>(loads.size()) /
         static_cast<double>(total);
}

Job OneSpecJob(const Dims& mesh_sizes) {
  Job job{.specs = {{.meshes = {MeshOf(mesh_sizes)}}}};
  job.spec_of_rank.resize(static_cast<size_t>(Numel(mesh_sizes)));
  return job;
}

TEST_CASE("replicas of even layouts are written in even shares", "[shares]") {
  Random random(1);
  double worst = 1;
  for (int trial = 0; trial < 300; ++trial) {
    Dims mesh;
    for (int64_t d = random.Between(1, 3); d > 0; --d) {
      mesh.push_back(random.Pick<int64_t>({1, 2, 4}));
    }
    Job job = OneSpecJob(mesh);
    // Larger than a split wherever they are replicated, even 64 times sharded.
    for (int i = 0; i < 6; ++i) {
      const Dims size = {64 * random.Between(64, 96),
                         64 * random.Between(1, 4)};
      AddLaidOut(&job.specs[0], "laid out " + std::to_string(i),
                 {size, 0, RandomPlacements(&random, 2, mesh)});
      job.specs[0].entries.push_back(
          WholeEntry("whole " + std::to_string(i), size));
    }
    job.specs[0].entries.push_back(ObjectEntry("object", 1000));
    const double imbalance = Imbalance(LoadsOf(job, {.split_nbytes = 8192}));
    INFO(ToString(mesh));
    REQUIRE(imbalance <= 1.05);
    worst = std::max(worst, imbalance);
  }
  INFO(worst);
  CHECK(worst > 1);
}

TEST_CASE("what all may write evens out what few had to", "[shares]") {
  // HSDP with tensor parallelism: most is held twice, norms eight times.
  const Dims mesh = {2, 4, 4};
  Job job = OneSpecJob(mesh);
  const Placement all = Placement::Replicate();
  for (int i = 0; i < 3; ++i) {  // too small to split: one of two has two
    AddLaidOut(
        &job.specs[0], "weight " + std::to_string(i),
        {{4096, 256}, 0, {all, Placement::Shard(0), Placement::Shard(1)}});
  }
  CHECK(Imbalance(LoadsOf(job, {})) > 1.3);
  for (int i = 0; i < 8; ++i) {
    AddLaidOut(&job.specs[0], "norm " + std::to_string(i),
               {{4096, 32}, 0, {all, Placement::Shard(0), all}});
  }
  CHECK(Imbalance(LoadsOf(job, {})) < 1.01);
}

TEST_CASE("a stage that has less writes more of what stages share",
          "[shares]") {
  Job job{.specs = {{.meshes = {MeshOf({4})}}, {.meshes = {MeshOf({4}, 4)}}},
          .spec_of_rank = {0, 0, 0, 0, 1, 1, 1, 1}};
  const TensorLayout rows{{1024, 256}, 0, {Placement::Shard(0)}};
  AddLaidOut(&job.specs[0], "first", rows);
  for (StateSpec& spec : job.specs) {
    spec.entries.push_back(WholeEntry("shared", {2048, 256}));
  }
  CHECK(Imbalance(LoadsOf(job, {.split_nbytes = 4096})) < 1.01);
}

TEST_CASE("ranks whose shards are empty write more of what all hold",
          "[shares]") {
  Job job = OneSpecJob({16});
  AddLaidOut(&job.specs[0], "experts", {{8, 64, 64}, 0, {Placement::Shard(0)}});
  job.specs[0].entries.push_back(WholeEntry("shared", {1024, 64}));
  CHECK(Imbalance(LoadsOf(job, {.split_nbytes = 2048})) < 1.01);
}

TEST_CASE("a chunk is split between as many as its size is worth", "[shares]") {
  Job job = OneSpecJob({8});
  job.specs[0].entries.push_back(WholeEntry("large", {1 << 16, 256}));
  const std::vector<int64_t> loads = LoadsOf(job, {.split_nbytes = 32 * kMiB});
  // 64 MiB in units of 16.
  CHECK(std::count(loads.begin(), loads.end(), 16 * kMiB) == 4);
  CHECK(std::count(loads.begin(), loads.end(), 0) == 4);
  // What is stored encoded has no rows.
  std::get<WholeTensor>(job.specs[0].entries[0].value).nbytes -= 4;
  const std::vector<int64_t> whole = LoadsOf(job, {.split_nbytes = 32 * kMiB});
  CHECK(std::count(whole.begin(), whole.end(), 64 * kMiB - 4) == 1);
}

TEST_CASE("of very many holders a thousand write, evenly spaced", "[shares]") {
  Job job = OneSpecJob({4096});
  for (int i = 0; i < 2048; ++i) {
    job.specs[0].entries.push_back(WholeEntry("step " + std::to_string(i), {}));
  }
  const std::vector<int64_t> loads = LoadsOf(job, {});
  for (size_t rank = 0; rank < loads.size(); ++rank) {
    REQUIRE(loads[rank] == (rank % 4 == 0 ? 8 : 0));
  }
}

}  // namespace
}  // namespace dcp
