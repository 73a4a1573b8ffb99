#include "staging/threads.h"

#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <new>
#include <thread>
#include <vector>

namespace dcp {
namespace {

TEST_CASE("every body runs once, number 0 on the caller's thread",
          "[staging]") {
  for (size_t count : {0, 1, 2, 17}) {
    std::vector<std::atomic<int>> runs(count);
    std::thread::id first;
    RunOnThreads(count, [&](size_t i) {
      ++runs[i];
      if (i == 0) first = std::this_thread::get_id();
    });
    for (const auto& times : runs) CHECK(times == 1);
    if (count > 0) CHECK(first == std::this_thread::get_id());
  }
}

TEST_CASE("what a body throws is thrown when all have ended", "[staging]") {
  for (size_t thrower : {0, 1, 2}) {
    std::atomic<int> ended{0};
    CHECK_THROWS_AS(RunOnThreads(3,
                                 [&](size_t i) {
                                   if (i == thrower) throw std::bad_alloc();
                                   ++ended;
                                 }),
                    std::bad_alloc);
    CHECK(ended == 2);
  }
}

int NiceOfThisThread() { return ::getpriority(PRIO_PROCESS, 0); }

TEST_CASE("a place is taken by another thread and what that starts",
          "[staging]") {
  const int before = NiceOfThisThread();
  const ThreadPlacement placement{.nice = before + 3};
  REQUIRE(CheckThreadPlacement(placement).ok());
  int inside = -1;
  int started = -1;
  RunPlaced(placement, [&] {
    inside = NiceOfThisThread();
    std::thread([&] { started = NiceOfThisThread(); }).join();
  });
  CHECK(inside == before + 3);
  CHECK(started == before + 3);
  CHECK(NiceOfThisThread() == before);

  std::thread::id own;
  RunPlaced({}, [&] { own = std::this_thread::get_id(); });
  CHECK(own == std::this_thread::get_id());
  CHECK_THROWS_AS(RunPlaced(placement, [] { throw std::bad_alloc(); }),
                  std::bad_alloc);
}

TEST_CASE("places that there are not are refused", "[staging]") {
  CHECK(CheckThreadPlacement({}).ok());
  for (const ThreadPlacement& wrong :
       {ThreadPlacement{.nice = -1}, ThreadPlacement{.nice = 20},
        ThreadPlacement{.cpus = {-1}}, ThreadPlacement{.cpus = {1 << 20}}}) {
    CHECK(CheckThreadPlacement(wrong).code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dcp
