#include "simulate/metadata_sizer.h"

#include <catch2/catch.hpp>

#include "plan/closed_form_plan.h"

namespace dcp {
namespace {

SimulatedJob FlatJob(int64_t ranks) {
  return *MakeSimulatedJob(*ModelShapeOf("llama3-70b"), {.dp = ranks});
}

/// Of what all ranks write.
int64_t ItemsOf(const SimulatedJob& job, const ClosedFormPlan& plan) {
  int64_t items = 0;
  for (uint32_t rank = 0; rank < job.ranks(); ++rank) {
    items += static_cast<int64_t>(plan.ShareOf(rank).items.size());
  }
  return items;
}

int64_t NbytesOf(const SimulatedJob& job, const RankSample& sample) {
  const auto plan = ClosedFormPlan::Make(job.specs, job.spec_of_rank, {});
  REQUIRE(plan.ok());
  MetadataSizer sizer(job, sample);
  for (int64_t i = 0; i < sample.size(); ++i) {
    if (!sizer.Takes(i)) continue;
    sizer.Add(sample.RankAt(i), plan->ShareOf(sample.RankAt(i)));
  }
  return *sizer.NbytesOf(ItemsOf(job, *plan));
}

TEST_CASE("a sample tells the size of .metadata within a fiftieth",
          "[simulate]") {
  const SimulatedJob job = FlatJob(128);
  const auto all = static_cast<double>(NbytesOf(job, RankSample(128, 128)));
  const auto some = static_cast<double>(NbytesOf(job, RankSample(128, 16)));
  CHECK(some == Approx(all).epsilon(0.02));
  // 2,169 tensors of 128 chunks, of 90 to 140 bytes each.
  CHECK(all > 128 * 2169 * 90);
  CHECK(all < 128 * 2169 * 140);
}

TEST_CASE("so many ranks are taken that their items fit a small memory",
          "[simulate]") {
  const SimulatedJob job = FlatJob(1024);
  const MetadataSizer sizer(job, RankSample(1024, 1024));
  int64_t taken = 0;
  for (int64_t i = 0; i < 1024; ++i) taken += sizer.Takes(i) ? 1 : 0;
  CHECK(taken * 2892 <= 500'000);
  CHECK(taken * 2892 > 250'000);
}

}  // namespace
}  // namespace dcp
