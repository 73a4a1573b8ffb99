#include "testing/manual_clock.h"

#include <catch2/catch.hpp>
#include <thread>

namespace dcp::testing {
namespace {

using std::chrono::seconds;

TEST_CASE("manual time passes when the test says so", "[clock]") {
  ManualClock clock;
  const auto start = clock.Now();
  bool awake = false;
  std::thread sleeper([&] {
    clock.SleepFor(seconds(10));
    awake = true;
  });
  clock.WaitForSleepers(1);
  clock.Advance(seconds(9));
  clock.WaitForSleepers(1);
  clock.Advance(seconds(1));
  sleeper.join();
  CHECK(awake);
  CHECK(clock.Now() - start == seconds(10));
}

TEST_CASE("a clock that advances by itself does not wait", "[clock]") {
  ManualClock clock(SleepMode::kAdvances);
  const auto start = clock.Now();
  clock.SleepFor(seconds(3600));
  CHECK(clock.Now() - start == seconds(3600));
}

}  // namespace
}  // namespace dcp::testing
