#include "staging/buffer_cache.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "dcp/kept_buffers.h"
#include "staging/aligned_buffer.h"
#include "staging/pipeline_options.h"
#include "staging/write_pipeline.h"

namespace dcp {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

/// Unmaps what is kept.
void EmptyCache() {
  while (true) {
    const auto memory = TakeKeptBuffer();
    if (memory.empty()) return;
    munmap(memory.data(), memory.size());
  }
}

class NothingToWrite final : public BlockFiller {
 public:
  Status Fill(const WriteBlock& /*block*/, FillMode /*mode*/,
              std::span<std::byte> /*buffer*/,
              std::vector<IoSlice>* /*slices*/) override {
    return Internal("there is no block");
  }
  void Cancel() override {}
};

TEST_CASE("a buffer of a save serves the load after it", "[staging]") {
  EmptyCache();
  const std::byte* first = nullptr;
  {
    const auto buffer = AlignedBuffer::Allocate(4 * kMiB);
    REQUIRE(buffer.ok());
    first = buffer->memory().data();
    CHECK(KeptBufferNbytes() == 0);
  }
  CHECK(KeptBufferNbytes() >= int64_t{4} << 20);
  const auto again = AlignedBuffer::Allocate(4 * kMiB + 2 * 4096);
  REQUIRE(again.ok());
  CHECK(again->memory().data() == first);
  CHECK(again->memory().size() >= 4 * kMiB + 2 * 4096);
  CHECK(KeptBufferNbytes() == 0);
}

TEST_CASE("kept buffers that are too small are given back", "[staging]") {
  EmptyCache();
  { const auto small = AlignedBuffer::Allocate(kMiB); }
  CHECK(KeptBufferNbytes() > 0);
  const auto large = AlignedBuffer::Allocate(4 * kMiB);
  REQUIRE(large.ok());
  CHECK(large->memory().size() >= 4 * kMiB);
  CHECK(KeptBufferNbytes() == 0);
}

TEST_CASE("no more is kept than the limit, and nothing small", "[staging]") {
  EmptyCache();
  {
    std::vector<AlignedBuffer> buffers;
    for (int i = 0; i < 40; ++i) {
      buffers.push_back(AlignedBuffer::Allocate(4 * kMiB).value());
    }
  }
  CHECK(KeptBufferNbytes() <= kMaxKeptNbytes);
  CHECK(KeptBufferNbytes() > kMaxKeptNbytes - (int64_t{5} << 20));
  EmptyCache();
  { const auto small = AlignedBuffer::Allocate(kMiB / 2); }
  CHECK(KeptBufferNbytes() == 0);
}

TEST_CASE("a pipeline with a small budget gives kept buffers back",
          "[staging]") {
  EmptyCache();
  {
    std::vector<AlignedBuffer> buffers;
    for (int i = 0; i < 20; ++i) {
      buffers.push_back(AlignedBuffer::Allocate(4 * kMiB).value());
    }
  }
  REQUIRE(KeptBufferNbytes() >= int64_t{80} << 20);
  const PipelineOptions roomy = ResolvePipelineOptions(
      {.workers = 2, .max_buffer_nbytes = int64_t{128} << 20});
  TrimKeptBuffers(roomy.max_kept_nbytes);
  CHECK(KeptBufferNbytes() >= int64_t{80} << 20);
  const IoOptions small{.workers = 2, .max_buffer_nbytes = int64_t{32} << 20};
  const PipelineOptions options = ResolvePipelineOptions(small);
  NothingToWrite nothing;
  REQUIRE(RunWritePipeline({}, WriteOrder::kAny, nothing, options).ok());
  CHECK(KeptBufferNbytes() <= int64_t{34} << 20);
  CHECK(KeptBufferNbytes() > int64_t{25} << 20);
  EmptyCache();
}

TEST_CASE("threads never share a kept buffer", "[staging]") {
  EmptyCache();
  std::vector<std::thread> threads;
  std::atomic<int> shared = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &shared] {
      for (int round = 0; round < 500; ++round) {
        const AlignedBuffer buffer = AlignedBuffer::Allocate(kMiB).value();
        const auto mark = static_cast<std::byte>(t + 1);
        buffer.memory()[kMiB / 2] = mark;
        std::this_thread::yield();
        if (buffer.memory()[kMiB / 2] != mark) ++shared;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(shared == 0);
  CHECK(KeptBufferNbytes() <= 4 * (int64_t{2} << 20));
  EmptyCache();
}

TEST_CASE("a forked child starts without kept buffers", "[staging]") {
  EmptyCache();
  { const auto buffer = AlignedBuffer::Allocate(kMiB); }
  REQUIRE(KeptBufferNbytes() > 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_empty = KeptBufferNbytes() == 0 && TakeKeptBuffer().empty();
    ::_exit(is_empty ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  EmptyCache();
}

}  // namespace
}  // namespace dcp
