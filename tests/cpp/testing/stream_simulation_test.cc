#include "testing/stream_simulation.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "testing/manual_clock.h"

namespace dcp::testing {
namespace {

using std::chrono::seconds;

TEST_CASE("work on a stream is done in order, at its end", "[testing]") {
  const auto clock = std::make_shared<ManualClock>();
  StreamSimulation streams(clock,
                           {.latency = seconds(1), .bytes_per_second = 10});
  std::string done;
  streams.Enqueue(1, 20, [&] { done += "a"; });  // at 3 s
  streams.Enqueue(1, 0, [&] { done += "b"; });   // at 4 s
  streams.Enqueue(2, 0, [&] { done += "c"; });   // at 1 s
  const auto event = streams.Record(1);
  streams.WaitFor(2, event);
  streams.Enqueue(2, 0, [&] { done += "d"; });  // at 5 s
  CHECK_FALSE(streams.HasPassed(event));
  CHECK(done.empty());
  clock->Advance(seconds(3));
  CHECK_FALSE(streams.HasPassed(event));
  CHECK(done == "ca");
  clock->Advance(seconds(1));
  CHECK(streams.HasPassed(event));
  CHECK(done == "cab");
  clock->Advance(seconds(1));
  streams.Drain(2);
  CHECK(done == "cabd");
}

TEST_CASE("events may be seen late and in another order", "[testing]") {
  bool was_reordered = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto clock = std::make_shared<ManualClock>(SleepMode::kAdvances);
    StreamSimulation streams(clock,
                             {.max_event_delay = seconds(5), .seed = seed});
    const auto first = streams.Record(1);
    const auto second = streams.Record(1);
    streams.Await(second);
    was_reordered = was_reordered || !streams.HasPassed(first);
    streams.Await(first);
    CHECK(streams.HasPassed(second));
  }
  CHECK(was_reordered);
}

}  // namespace
}  // namespace dcp::testing
