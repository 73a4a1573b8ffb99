#include "simulate/rank_sample.h"

#include <catch2/catch.hpp>
#include <set>

namespace dcp {
namespace {

TEST_CASE("as many ranks as there are is all of them", "[simulate]") {
  const RankSample sample(48, GENERATE(48, 1000));
  CHECK(sample.is_all());
  CHECK(sample.size() == 48);
  CHECK(sample.RankAt(47) == 47);
  CHECK(sample.scale() == 1.0);
}

TEST_CASE("a sample is as large as wanted, ascends, and stays in the job",
          "[simulate]") {
  const int64_t ranks = GENERATE(1, 2, 7, 64, 3000, 131072);
  const int64_t wanted = GENERATE(1, 5, 63, 1000);
  if (wanted >= ranks) return;
  const RankSample sample(ranks, wanted);
  CHECK_FALSE(sample.is_all());
  CHECK(sample.size() >= 1);
  CHECK(sample.size() <= wanted);
  for (int64_t i = 1; i < sample.size(); ++i) {
    REQUIRE(sample.RankAt(i) > sample.RankAt(i - 1));
  }
  CHECK(sample.RankAt(sample.size() - 1) < ranks);
}

TEST_CASE("a sample has ranks of every coordinate of a mesh dimension",
          "[simulate]") {
  const RankSample sample(131072, 11000);
  std::set<uint32_t> coordinates;
  for (int64_t i = 0; i < sample.size(); ++i) {
    coordinates.insert(sample.RankAt(i) % 8);
  }
  CHECK(coordinates.size() == 8);
}

}  // namespace
}  // namespace dcp
