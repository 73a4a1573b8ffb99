#include "staging/threads.h"

#include <atomic>
#include <catch2/catch.hpp>
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

}  // namespace
}  // namespace dcp
