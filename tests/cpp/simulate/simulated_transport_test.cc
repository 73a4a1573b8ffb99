#include "simulate/simulated_transport.h"

#include <catch2/catch.hpp>

namespace dcp {
namespace {

TEST_CASE(
    "the coordinator gathers what simulated ranks send, and it is counted",
    "[simulate]") {
  SimulatedTransport transport(3);
  transport.SetMessages([](int round, int rank) {
    return std::string(static_cast<size_t>(rank), "xy"[round]);
  });
  const auto gathered = transport.Gather("mine");
  REQUIRE(gathered.ok());
  CHECK(*gathered == std::vector<std::string>{"mine", "x", "xx"});
  CHECK(transport.traffic().messages == 2);
  CHECK(transport.traffic().nbytes == 3);
  CHECK(transport.Gather("mine")->back() == "yy");
  CHECK(transport.traffic().nbytes == 6);
  CHECK(transport.gather_seconds() > 0);
}

TEST_CASE("what the coordinator sends is counted but for what it keeps",
          "[simulate]") {
  SimulatedTransport transport(3);
  const std::vector<std::string> messages = {"mine", "ab", "c"};
  CHECK(*transport.Scatter(messages) == "mine");
  CHECK(transport.traffic().nbytes == 3);
  CHECK(*transport.Broadcast("all") == "all");
  CHECK(transport.traffic().nbytes == 9);
  CHECK(transport.AwaitAll("write").ok());
  CHECK(transport.traffic().messages == 8);
  CHECK(transport.traffic().nbytes == 9);
}

TEST_CASE("a rank alone sends nothing", "[simulate]") {
  SimulatedTransport transport(1);
  CHECK(transport.Gather("mine")->size() == 1);
  CHECK(*transport.Broadcast("all") == "all");
  CHECK(transport.traffic().messages == 0);
  CHECK(transport.traffic().nbytes == 0);
}

TEST_CASE("a gather that cannot be is an error", "[simulate]") {
  SimulatedTransport transport(2);
  CHECK(transport.Gather("mine").status().code() ==
        absl::StatusCode::kFailedPrecondition);
  transport.SetMessages([](int, int) -> StatusOr<std::string> {
    return InvalidArgument("a rank has no plan");
  });
  CHECK(Message(transport.Gather("mine").status()) == "a rank has no plan");
  CHECK(transport.Scatter({}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
