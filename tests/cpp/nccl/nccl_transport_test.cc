// The transport over the stand-in for NCCL, between processes.

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "conformance/transport_conformance.h"
#include "nccl/rank_process.h"

namespace dcp {
namespace {

using testing::RankJob;
using testing::RankMessage;

TEST_CASE("ranks of NCCL do what every transport must", "[nccl]") {
  CheckTransport(testing::MakeRemoteTransports);
}

/// The calls of a rank that makes its transport, gathers, awaits the others,
/// trains and ends; all of it works.
std::vector<std::string> CallsOfAJob(const testing::RankJobOptions& options) {
  RankJob job(options);
  for (const RankMessage& message :
       {RankMessage{"make", {}}, RankMessage{"train", {}},
        RankMessage{"gather", {"plan"}}, RankMessage{"broadcast", {"plan"}},
        RankMessage{"await", {"write"}}, RankMessage{"check", {}},
        RankMessage{"train", {}}, RankMessage{"destroy", {}},
        RankMessage{"train", {}}}) {
    INFO(message.what);
    RequireAllOk(job.AskAll(message));
  }
  return job.CallsOf(1);
}

/// The calls on the communicators whose names begin with `name`.
std::vector<std::string> On(const std::string& name,
                            const std::vector<std::string>& calls) {
  std::vector<std::string> found;
  for (const std::string& call : calls) {
    if (call.starts_with(name)) found.push_back(call);
  }
  return found;
}

TEST_CASE("the trainer's communicator is split once, by the calling thread",
          "[nccl]") {
  for (const bool blocks : {true, false}) {
    const auto calls = CallsOfAJob({.size = 3, .blocks = blocks});
    const auto on_world = On("world ", calls);
    REQUIRE(on_world.size() == 4);
    CHECK(on_world[0] == "world split main");
    for (size_t i = 1; i < 4; ++i) {
      CHECK(on_world[i].starts_with("world all_gather"));  // the trainer's
    }
  }
}

TEST_CASE("the split is used on one stream, and ended in good order",
          "[nccl]") {
  const auto calls = CallsOfAJob({.size = 3});
  const auto on_split = On("split0 ", calls);
  std::set<std::string> streams;
  for (const std::string& call : On("", calls)) {
    const size_t at = call.find("0x");
    if (at == std::string::npos) continue;
    streams.insert(call.substr(0, 5) + call.substr(at, call.rfind(' ') - at));
  }
  CHECK(streams.size() == 2);  // that of the split, and the trainer's
  REQUIRE(on_split.size() > 2);
  CHECK(on_split[on_split.size() - 2].starts_with("split0 finalize"));
  CHECK(on_split.back().starts_with("split0 destroy"));
}

TEST_CASE("calls of other threads reach NCCL in those threads", "[nccl]") {
  for (const std::string& call : On("split0 ", CallsOfAJob({}))) {
    const bool is_made_by_main = call.find("finalize") != std::string::npos ||
                                 call.find("destroy") != std::string::npos ||
                                 call.find("all_gather") != std::string::npos;
    if (!is_made_by_main) CHECK(call.ends_with("other"));
  }
}

TEST_CASE("a transport that is gone leaves nothing on the device", "[nccl]") {
  RankJob job({.size = 2});
  RequireAllOk(job.AskAll({"make", {}}));
  RequireAllOk(job.AskAll({"broadcast", {std::string(9 << 20, 'x')}}));
  std::thread other([&] { job.Ask(1, {"destroy", {}}).IgnoreError(); });
  const auto left = job.Ask(0, {"destroy", {}});
  other.join();
  REQUIRE(left.ok());
  CHECK(left->at(0) == "0");
}

TEST_CASE("a trainer may make one transport after another", "[nccl]") {
  RankJob job({.size = 2});
  for (int i = 0; i < 3; ++i) {
    RequireAllOk(job.AskAll({"make", {}}));
    RequireAllOk(job.AskAll({"await", {"write"}}));
    RequireAllOk(job.AskAll({"destroy", {}}));
  }
  CHECK(On("world ", job.CallsOf(0)).size() == 3);
}

}  // namespace
}  // namespace dcp
