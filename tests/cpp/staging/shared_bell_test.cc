#include "staging/shared_bell.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

namespace dcp {
namespace {

using std::chrono::steady_clock;

TEST_CASE("a bell wakes who waits, and keeps nobody who saw an older value",
          "[staging]") {
  SharedBell bell;
  const auto start = steady_clock::now();
  const uint32_t seen = bell.value();
  std::thread ringer([&bell] { bell.Ring(); });
  while (bell.value() == seen) bell.Wait(seen, std::chrono::minutes(1));
  ringer.join();
  bell.Wait(seen, std::chrono::minutes(1));
  CHECK(steady_clock::now() - start < std::chrono::seconds(30));
}

TEST_CASE("who waits for a bell that does not ring goes on in the end",
          "[staging]") {
  SharedBell bell;
  bell.Wait(bell.value(), std::chrono::milliseconds(2));
  CHECK(bell.value() == 0);
}

}  // namespace
}  // namespace dcp
