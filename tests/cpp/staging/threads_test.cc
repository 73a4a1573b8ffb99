#include "staging/threads.h"

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

}  // namespace
}  // namespace dcp
