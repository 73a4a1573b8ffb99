#include "io/fixed_queue.h"

#include <catch2/catch.hpp>
#include <deque>
#include <random>

namespace dcp {
namespace {

TEST_CASE("a fixed queue gives back what it took, in order", "[fixed_queue]") {
  std::mt19937 random(1);
  for (const size_t capacity : {1, 2, 7}) {
    FixedQueue<int> queue(capacity);
    std::deque<int> expected;
    for (int i = 0; i < 1000; ++i) {
      const bool pushes = expected.empty() || random() % 2 == 0;
      if (pushes && expected.size() < capacity) {
        queue.Push(i);
        expected.push_back(i);
      } else if (!expected.empty()) {
        CHECK(queue.Pop() == expected.front());
        expected.pop_front();
      }
      CHECK(queue.size() == expected.size());
      CHECK(queue.empty() == expected.empty());
    }
  }
}

}  // namespace
}  // namespace dcp
