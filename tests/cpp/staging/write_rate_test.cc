#include "staging/write_rate.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "testing/manual_clock.h"

namespace dcp {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ManualClock;
using testing::SleepMode;

constexpr int64_t kMB = 1'000'000;

bool Never() { return false; }

TEST_CASE("writes take the time that the rate gives them", "[staging]") {
  const auto clock = std::make_shared<ManualClock>(SleepMode::kAdvances);
  const auto rate = WriteRate::Make(10 * kMB, clock);
  const auto start = clock->Now();
  rate->Await(5 * kMB, Never);
  CHECK(clock->Now() == start);
  rate->Await(10 * kMB, Never);
  CHECK(clock->Now() - start == milliseconds(500));
  rate->Await(kMB, Never);
  CHECK(clock->Now() - start == milliseconds(1500));
}

TEST_CASE("time without writes is not made up for", "[staging]") {
  const auto clock = std::make_shared<ManualClock>(SleepMode::kAdvances);
  const auto rate = WriteRate::Make(10 * kMB, clock);
  clock->Advance(seconds(100));
  const auto start = clock->Now();
  for (int i = 0; i < 5; ++i) rate->Await(10 * kMB, Never);
  CHECK(clock->Now() - start == seconds(4));
}

TEST_CASE("several threads share the rate", "[staging]") {
  const auto clock = std::make_shared<ManualClock>(SleepMode::kAdvances);
  const auto rate = WriteRate::Make(kMB, clock);
  const auto start = clock->Now();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) rate->Await(kMB, Never);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(clock->Now() - start >= seconds(19));
}

TEST_CASE("nobody waits for a write that is over", "[staging]") {
  const auto clock = std::make_shared<ManualClock>(SleepMode::kAdvances);
  const auto rate = WriteRate::Make(kMB, clock);
  rate->Await(3600 * kMB, Never);
  const auto start = clock->Now();
  int asked = 0;
  rate->Await(kMB, [&] { return ++asked > 3; });
  CHECK(clock->Now() - start == milliseconds(150));
}

TEST_CASE("without a rate there is no limit", "[staging]") {
  CHECK(WriteRate::Make(0, std::make_shared<ManualClock>()) == nullptr);
}

}  // namespace
}  // namespace dcp
