// What goes wrong with ranks over the stand-in for NCCL, which are processes.

#include <signal.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "conformance/transport_conformance.h"
#include "nccl/rank_process.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using testing::RankJob;
using testing::RankMessage;

// For collectives that are to fail, and for ranks that are to meet before.
constexpr double kPatientSeconds = 1;

std::string Text(const Status& status) { return std::string(Message(status)); }

/// Has rank i do `messages[i]`, all at the same time.
std::vector<Status> AskEach(RankJob& job,
                            const std::vector<RankMessage>& messages) {
  std::vector<Status> statuses(messages.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < messages.size(); ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = job.Ask(static_cast<int>(i), messages[i]).status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

bool HasAborted(const RankJob& job, int rank) {
  for (const std::string& call : job.CallsOf(rank)) {
    if (call.find("world abort") != std::string::npos) return false;
    if (call.find(" abort") != std::string::npos) return true;
  }
  return false;
}

/// Every later call says the same, and the trainer goes on.
void CheckOnlyTheSplitIsBroken(RankJob& job, int rank, const Status& failure) {
  CHECK(HasAborted(job, rank));
  CHECK(job.Ask(rank, {"await", {"write"}}).status() == failure);
  CHECK(job.Ask(rank, {"check", {}}).status() == failure);
}

TEST_CASE("a rank that does not come is named, and the trainer goes on",
          "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds});
  RequireAllOk(job.AskAll({"make", {}}));
  const Status late = job.Ask(0, {"gather", {"plan"}}).status();
  CHECK(late.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(late), Contains("Gather waited 1.0") &&
                             Contains("nothing was heard of rank(s) 1"));
  CheckOnlyTheSplitIsBroken(job, 0, late);
  RequireAllOk(job.AskAll({"train", {}}));
}

TEST_CASE("ranks of NCCL that call different methods are told so", "[nccl]") {
  RankJob job({.size = 3});
  RequireAllOk(job.AskAll({"make", {}}));
  const auto statuses = AskEach(
      job, {{"gather", {"plan"}}, {"gather", {"plan"}}, {"await", {"write"}}});
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(Text(status),
               Contains("rank 2 called AwaitAll where rank 0 called Gather"));
  }
  CheckOnlyTheSplitIsBroken(job, 1, statuses[1]);
  RequireAllOk(job.AskAll({"train", {}}));
}

TEST_CASE("a rank that is killed ends the wait for it", "[nccl]") {
  RankJob job({.size = 3});
  RequireAllOk(job.AskAll({"make", {}}));
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    job.Kill(2, SIGKILL);
  });
  const auto statuses =
      AskEach(job, {{"await", {"write"}}, {"await", {"write"}}});
  killer.join();
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kAborted);
    CHECK_THAT(Text(status), Contains("rank(s) 2,") &&
                                 Contains("remote process exited (6)") &&
                                 Contains("last error of NCCL"));
  }
  CheckOnlyTheSplitIsBroken(job, 0, statuses[0]);
}

TEST_CASE("a rank that hangs is given up after the deadline", "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds});
  RequireAllOk(job.AskAll({"make", {}}));
  job.Kill(1, SIGSTOP);
  const Status status = job.Ask(0, {"broadcast", {"x"}}).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(status), Contains("rank(s) 1"));
  job.Kill(1, SIGKILL);
}

TEST_CASE("an operation that never ends is given up", "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds});
  RequireAllOk(job.AskAll({"make", {}}));
  REQUIRE(job.Ask(0, {"set", {"is_stuck", "1"}}).ok());
  const auto statuses = job.AskAll({"scatter", {"a", "b"}});
  CHECK(statuses[0].code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(statuses[1].code() == absl::StatusCode::kDeadlineExceeded);
  RequireAllOk(job.AskAll({"train", {}}));
}

TEST_CASE("what NCCL reports of the split ends all later calls", "[nccl]") {
  for (const char* error : {"6", "2", "1"}) {
    RankJob job({.size = 2});
    RequireAllOk(job.AskAll({"make", {}}));
    REQUIRE(job.Ask(0, {"set", {"async_error", error}}).ok());
    const Status status = job.Ask(0, {"check", {}}).status();
    const bool is_remote = std::string(error) != "1";
    CHECK(status.code() == (is_remote ? absl::StatusCode::kAborted
                                      : absl::StatusCode::kUnknown));
    CheckOnlyTheSplitIsBroken(job, 0, status);
    RequireAllOk(job.AskAll({"train", {}}));
  }
}

TEST_CASE("a call of NCCL that fails leaves no group open", "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds});
  for (int rank : {0, 1}) {
    REQUIRE(job.Ask(rank, {"set", {"call_error", "4"}}).ok());
  }
  for (const Status& status : job.AskAll({"make", {}})) {
    CHECK(status.code() == absl::StatusCode::kUnknown);
    CHECK_THAT(Text(status), Contains("ncclAllGather: another error (4)"));
  }
  RequireAllOk(job.AskAll({"train", {}}));
}

TEST_CASE("a message that was changed is lost data, and the others hear of it",
          "[nccl]") {
  RankJob job({.size = 3});
  RequireAllOk(job.AskAll({"make", {}}));
  REQUIRE(job.Ask(1, {"set", {"garbles_messages", "1"}}).ok());
  const auto statuses = job.AskAll({"broadcast", {"the plan"}});
  CHECK(statuses[0].ok());
  CHECK(statuses[1].code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Text(statuses[1]), Contains("the message of rank 0"));
  CHECK(statuses[2].ok());
  const auto later = job.AskAll({"await", {"write"}});
  CHECK(later[1] == statuses[1]);
  for (size_t rank : {size_t{0}, size_t{2}}) {
    CHECK(later[rank].code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(Text(later[rank]), Contains("rank 1 gave up"));
  }
}

TEST_CASE("what was scattered and changed is lost data", "[nccl]") {
  RankJob job({.size = 2});
  RequireAllOk(job.AskAll({"make", {}}));
  REQUIRE(job.Ask(1, {"set", {"garbles_messages", "1"}}).ok());
  const auto statuses = job.AskAll({"scatter", {"a", "b"}});
  CHECK(statuses[1].code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("a header that was changed names its sender", "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds});
  RequireAllOk(job.AskAll({"make", {}}));
  REQUIRE(job.Ask(0, {"set", {"garbles_headers", "1"}}).ok());
  const auto statuses = job.AskAll({"await", {"write"}});
  CHECK(statuses[0].code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Text(statuses[0]), Contains("the header of rank 1"));
}

TEST_CASE("all ranks hear of a Scatter that has too few messages", "[nccl]") {
  RankJob job({.size = 3});
  RequireAllOk(job.AskAll({"make", {}}));
  const auto statuses = job.AskAll({"scatter", {"a", "b"}});
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK_THAT(Text(statuses[0]), Contains("3 ranks, got 2"));
  CHECK_THAT(Text(statuses[2]), Contains("rank 0 gave up"));
}

TEST_CASE(
    "ranks that do not make their transports are waited for, not for ever",
    "[nccl]") {
  RankJob job({.size = 2, .timeout_seconds = kPatientSeconds, .blocks = false});
  const Status status = job.Ask(0, {"make", {}}).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(status), Contains("ncclCommSplit"));
}

TEST_CASE("a rank of NCCL that leaves is named to the others", "[nccl]") {
  RankJob job({.size = 3});
  RequireAllOk(job.AskAll({"make", {}}));
  const auto statuses = AskEach(
      job, {{"await", {"write"}}, {"await", {"write"}}, {"destroy", {}}});
  CHECK(statuses[2].ok());
  for (size_t rank : {size_t{0}, size_t{1}}) {
    CHECK(statuses[rank].code() == absl::StatusCode::kAborted);
    CHECK_THAT(Text(statuses[rank]), Contains("rank 2 is gone"));
  }
}

}  // namespace
}  // namespace dcp
