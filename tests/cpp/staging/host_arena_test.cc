#include "staging/host_arena.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "base/tensor_cases.h"
#include "conformance/check_files.h"
#include "staging/test_pages.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kNoLimit = int64_t{1} << 40;

struct TestArena {
  ArenaLease Take(int64_t nbytes, int64_t max_nbytes = kNoLimit) {
    auto lease = arena.TryTake({.nbytes = nbytes, .max_nbytes = max_nbytes});
    REQUIRE(lease.ok());
    return *std::move(lease);
  }

  PagesRecord pages;
  HostArena arena{std::make_unique<TestPages>(pages)};
};

TEST_CASE("memory that was given back serves the next lease", "[staging]") {
  TestArena test;
  const std::byte* first = nullptr;
  {
    const ArenaLease lease = test.Take(10 * kMiB);
    first = lease.memory().data();
    CHECK(lease.memory().size() >= 10 * kMiB);
    CHECK(reinterpret_cast<uintptr_t>(first) % (2 * kMiB) == 0);
  }
  CHECK(test.arena.leased_nbytes() == 0);
  const ArenaLease smaller = test.Take(5 * kMiB);
  CHECK(smaller.memory().data() == first);
  // What it left serves another.
  const ArenaLease rest = test.Take(4 * kMiB);
  CHECK(test.pages.maps == 1);
}

TEST_CASE("neighbors that were given back become one", "[staging]") {
  TestArena test;
  { const ArenaLease whole = test.Take(12 * kMiB); }
  {
    ArenaLease a = test.Take(4 * kMiB);
    ArenaLease b = test.Take(4 * kMiB);
    ArenaLease c = test.Take(4 * kMiB);
    { const ArenaLease first = std::move(a); }
    { const ArenaLease third = std::move(c); }
  }
  const ArenaLease again = test.Take(12 * kMiB);
  CHECK(test.pages.maps == 1);
}

TEST_CASE("what is too small goes before more is mapped", "[staging]") {
  TestArena test;
  { const ArenaLease small = test.Take(4 * kMiB); }
  const ArenaLease large = test.Take(40 * kMiB);
  CHECK(test.pages.mapped == test.arena.nbytes());
  CHECK(test.arena.nbytes() < 44 * kMiB);
}

TEST_CASE("never is more mapped than a lease's limit, but for other leases",
          "[staging]") {
  TestArena test;
  { const ArenaLease lease = test.Take(20 * kMiB); }
  {
    const ArenaLease lease = test.Take(6 * kMiB, 8 * kMiB);
    CHECK(test.arena.nbytes() <= 8 * kMiB);
    CHECK(test.Take(4 * kMiB, 8 * kMiB).memory().empty());
    CHECK(test.Take(2 * kMiB, 8 * kMiB).memory().size() == 2 * kMiB);
  }
  // Odd limits are kept to the page.
  const ArenaLease odd = test.Take(3 * kMiB, 3 * kMiB + 5000);
  CHECK(odd.memory().size() == 3 * kMiB);
  CHECK(test.arena.nbytes() <= 3 * kMiB + 4096);
}

TEST_CASE("a lease waits until there is room, or it gives up", "[staging]") {
  TestArena test;
  auto first = std::make_unique<ArenaLease>(test.Take(6 * kMiB, 8 * kMiB));
  const ArenaRequest request{.nbytes = 4 * kMiB, .max_nbytes = 8 * kMiB};
  std::atomic<int> asked = 0;
  std::atomic<bool> gives_up = false;
  const auto when_asked = [&] {
    ++asked;
    return gives_up.load();
  };
  StatusOr<ArenaLease> second = ArenaLease();
  std::thread waiting([&] { second = test.arena.Take(request, when_asked); });
  while (asked == 0) std::this_thread::yield();
  first.reset();
  waiting.join();
  REQUIRE(second.ok());
  CHECK(second->memory().size() == 4 * kMiB);

  const ArenaLease third = test.Take(4 * kMiB, 8 * kMiB);
  asked = 0;
  StatusOr<ArenaLease> fourth = ArenaLease();
  std::thread hopeless([&] { fourth = test.arena.Take(request, when_asked); });
  while (asked == 0) std::this_thread::yield();
  gives_up = true;
  test.arena.WakeWaiters();
  hopeless.join();
  REQUIRE(fourth.ok());
  CHECK(fourth->memory().empty());
}

TEST_CASE("a system without memory is an error, one without much is not",
          "[staging]") {
  TestArena test;
  test.pages.max_map = static_cast<size_t>(66 * kMiB);
  // A little more than asked for is mapped where that goes.
  CHECK(test.Take(66 * kMiB).memory().size() == 66 * kMiB);
  test.arena.ReleaseFree();
  test.pages.max_map = 1;
  const auto refused =
      test.arena.TryTake({.nbytes = 4 * kMiB, .max_nbytes = kNoLimit});
  CHECK(refused.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(test.arena.leased_nbytes() == 0);
}

TEST_CASE("memory that nobody has is released, what somebody has is not",
          "[staging]") {
  TestArena test;
  const ArenaLease kept = test.Take(4 * kMiB);
  { const ArenaLease other = test.Take(4 * kMiB); }
  kept.memory()[0] = std::byte{7};
  test.arena.ReleaseFree();
  CHECK(test.arena.nbytes() == 4 * kMiB);
  CHECK(kept.memory()[0] == std::byte{7});
}

TEST_CASE("prewarmed memory is the next lease's", "[staging]") {
  TestArena test;
  DCP_CHECK_OK(
      test.arena.Prewarm({.nbytes = 9 * kMiB + 17, .max_nbytes = kNoLimit}, 3));
  CHECK(test.pages.maps == 1);
  {
    const ArenaLease lease = test.Take(9 * kMiB);
    CHECK(test.pages.maps == 1);
    // No more than the limit leaves.
    DCP_CHECK_OK(
        test.arena.Prewarm({.nbytes = 100 * kMiB, .max_nbytes = 12 * kMiB}, 2));
    CHECK(test.arena.nbytes() <= 12 * kMiB);
    DCP_CHECK_OK(
        test.arena.Prewarm({.nbytes = kMiB, .max_nbytes = 4 * kMiB}, 2));
  }
  test.pages.max_map = 1;
  CHECK(test.arena.Prewarm({.nbytes = 99 * kMiB, .max_nbytes = kNoLimit}, 2)
            .code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("leases of many threads never overlap", "[staging]") {
  TestArena test;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t));
      const auto mark = static_cast<std::byte>(t + 1);
      for (int round = 0; round < 300; ++round) {
        const ArenaRequest request{.nbytes = random.Between(1, 3 * kMiB),
                                   .max_nbytes = 8 * kMiB};
        const auto lease = test.arena.Take(request, [] { return false; });
        const std::span<std::byte> memory = lease.value().memory();
        for (size_t at = 0; at < memory.size(); at += 4096) memory[at] = mark;
        std::this_thread::yield();
        for (size_t at = 0; at < memory.size(); at += 4096) {
          if (memory[at] != mark) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(test.pages.most_mapped <= 8 * kMiB);
  CHECK(test.arena.leased_nbytes() == 0);
}

TEST_CASE("a forked child has an arena of its own, and leaves the parent's",
          "[staging]") {
  auto lease = std::make_unique<ArenaLease>(
      ProcessArena()
          .TryTake({.nbytes = 4 * kMiB, .max_nbytes = kNoLimit})
          .value());
  const int64_t before = ProcessArena().nbytes();
  const pid_t child = ::fork();
  if (child == 0) {
    bool right = ProcessArena().nbytes() == 0;
    lease.reset();
    const auto own =
        ProcessArena().TryTake({.nbytes = kMiB, .max_nbytes = kNoLimit});
    right = right && own.ok() && !own->memory().empty();
    if (right) own->memory()[0] = std::byte{1};
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(ProcessArena().nbytes() == before);
  lease.reset();
  ProcessArena().ReleaseFree();
  CHECK(ProcessArena().nbytes() == 0);
}

}  // namespace
}  // namespace dcp
