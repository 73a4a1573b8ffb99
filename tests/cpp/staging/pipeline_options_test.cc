#include "staging/pipeline_options.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>

#include "base/tensor_cases.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST_CASE("all buffers together stay within the budget", "[staging]") {
  Random random(1);
  for (int round = 0; round < 2000; ++round) {
    const IoOptions io{.workers = static_cast<int>(random.Between(0, 100)),
                       .block_nbytes = random.Between(0, 64 * kMiB),
                       .max_buffer_nbytes = random.Between(0, 300 * kMiB)};
    const PipelineOptions options = ResolvePipelineOptions(io);
    INFO("workers " << io.workers << ", block " << io.block_nbytes
                    << ", budget " << io.max_buffer_nbytes);
    // Two blocks of a mebibyte are the least with which anything moves.
    const int64_t budget = std::max(io.max_buffer_nbytes, 2 * kMiB);
    CHECK(options.workers * options.blocks_per_worker *
              options.direct_block_nbytes <=
          budget);
    CHECK(options.workers >= 1);
    CHECK(options.blocks_per_worker >= 2);
    CHECK(options.direct_block_nbytes % kMiB == 0);
    CHECK(options.direct_block_nbytes <= std::max(io.block_nbytes, kMiB));
    CHECK(options.buffered_block_nbytes % kMiB == 0);
    CHECK(options.buffered_block_nbytes <= options.direct_block_nbytes);
    if (io.workers > 0) CHECK(options.workers <= io.workers);
  }
}

TEST_CASE("a roomy budget leaves workers and blocks as asked", "[staging]") {
  const PipelineOptions options =
      ResolvePipelineOptions({.engine = IoEngineKind::kThreads,
                              .workers = 3,
                              .block_nbytes = 4 * kMiB,
                              .max_buffer_nbytes = 1024 * kMiB});
  CHECK(options.engine == IoEngineKind::kThreads);
  CHECK(options.workers == 3);
  CHECK(options.direct_block_nbytes == 4 * kMiB);
  CHECK(options.blocks_per_worker == 32);
}

TEST_CASE("many items leave an eighth of the budget for blocks", "[staging]") {
  const IoOptions io{.workers = 2, .max_buffer_nbytes = 64 * kMiB};
  const auto nbytes = [&](size_t items) {
    const PipelineOptions options = ResolvePipelineOptions(io, items);
    return options.workers * options.blocks_per_worker *
           options.direct_block_nbytes;
  };
  CHECK(nbytes(0) == 64 * kMiB);
  CHECK(nbytes(300) == 64 * kMiB);
  CHECK(nbytes(30'000) < 64 * kMiB);
  CHECK(nbytes(30'000) > 16 * kMiB);
  CHECK(nbytes(1'000'000) == 8 * kMiB);
}

}  // namespace
}  // namespace dcp
