#include "simulate/event_queue.h"

#include <catch2/catch.hpp>
#include <vector>

namespace dcp {
namespace {

TEST_CASE("events come by their times, and of one time as they were added",
          "[simulate]") {
  EventQueue<int> events;
  for (const int event : {0, 1, 2, 3, 4, 5}) {
    events.Add(event % 2 == 0 ? 2.0 : 1.0, event);
  }
  std::vector<int> order;
  while (!events.is_empty()) {
    const auto next = events.Next();
    CHECK(next.seconds == (next.event % 2 == 0 ? 2.0 : 1.0));
    order.push_back(next.event);
  }
  CHECK(order == std::vector<int>{1, 3, 5, 0, 2, 4});
}

}  // namespace
}  // namespace dcp
