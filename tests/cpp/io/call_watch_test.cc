#include "io/call_watch.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "io/stall.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using std::chrono::milliseconds;
using testing::Gate;

constexpr milliseconds kSoon{30};
constexpr std::chrono::minutes kLate{10};

const ErrorDetail kName{.op = "fsync", .path = "/ckpt/f"};

/// A call that waits at `gate`.
std::function<Status()> Hanging(const std::shared_ptr<Gate>& gate) {
  return [gate] {
    gate->Pass();
    return absl::OkStatus();
  };
}

TEST_CASE("a watched call returns what it returns", "[call_watch]") {
  const Clock::Duration timeout = GENERATE(Clock::Duration(0), kLate);
  CallWatch watch(timeout);
  for (int i = 0; i < 3; ++i) {
    CHECK(*watch.Run<StatusOr<int>>(kName, [i] { return i; }) == i);
    const Status missing = NotFound("f");
    CHECK(watch.Run<Status>(kName, [&] { return missing; }) == missing);
    CHECK(watch.Run<Status>(kName, []() -> Status { throw std::bad_alloc(); })
              .code() == absl::StatusCode::kResourceExhausted);
  }
}

TEST_CASE("calls in turn need one thread only", "[call_watch]") {
  CallWatch watch(kLate);
  const auto thread_id = [] {
    return StatusOr<std::thread::id>(std::this_thread::get_id());
  };
  const auto first = watch.Run<StatusOr<std::thread::id>>(kName, thread_id);
  const auto second = watch.Run<StatusOr<std::thread::id>>(kName, thread_id);
  CHECK(*first == *second);
  CHECK(*first != std::this_thread::get_id());
}

TEST_CASE("a call that does not return is given up, with what it uses",
          "[call_watch]") {
  const auto gate = std::make_shared<Gate>();
  std::weak_ptr<std::string> used_by_call;
  {
    CallWatch watch(kSoon);
    const auto used = std::make_shared<std::string>("bytes");
    used_by_call = used;
    const auto begin = std::chrono::steady_clock::now();
    const Status status = watch.Run<Status>(kName, [gate, used] {
      gate->Pass();
      return used->empty() ? NotFound("") : absl::OkStatus();
    });
    CHECK(std::chrono::steady_clock::now() - begin >= kSoon);
    CHECK(IsStall(status));
    CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
    CHECK_THAT(std::string(Message(status)),
               Catch::Contains("fsync /ckpt/f has not returned for 0.03 s"));
    CHECK(GetErrorDetail(status) == kName);
  }
  CHECK_FALSE(used_by_call.expired());  // the watch is gone, the call is not
  gate->Open();
  while (!used_by_call.expired()) std::this_thread::yield();
}

TEST_CASE("after a stall no call is made", "[call_watch]") {
  const auto gate = std::make_shared<Gate>();
  CallWatch watch(kSoon);
  const Status stall = watch.Run<Status>(kName, Hanging(gate));
  CHECK(watch.Run<Status>({.op = "unlink"}, [] {
    return Internal("this must not be called");
  }) == stall);
  gate->Open();
  gate->AwaitWaiting(0);
  CHECK(watch.Run<Status>(kName, [] { return absl::OkStatus(); }) == stall);
}

TEST_CASE("who waits learns that the watch has given up", "[call_watch]") {
  const auto gate = std::make_shared<Gate>();
  CallWatch watch(kLate);
  Status waited;
  std::thread waiter([&] { waited = watch.Run<Status>(kName, Hanging(gate)); });
  gate->AwaitWaiting(1);
  const Status stall = StallError({.op = "pwrite", .path = "/g"}, kSoon);
  watch.GiveUp(stall);
  waiter.join();
  CHECK(waited == stall);
  gate->Open();
}

/// Waits at a gate when it is destroyed.
struct Reluctant {
  explicit Reluctant(std::shared_ptr<Gate> g) : gate(std::move(g)) {}
  ~Reluctant() { gate->Pass(); }
  const std::shared_ptr<Gate> gate;
};

TEST_CASE("what is discarded is destroyed, also after a stall",
          "[call_watch]") {
  const auto open = std::make_shared<Gate>();
  open->Open();
  const auto closed = std::make_shared<Gate>();
  CallWatch watch(kSoon);
  auto quick = std::make_shared<Reluctant>(open);
  std::weak_ptr<Reluctant> destroyed = quick;
  watch.Discard("close", "/f", std::move(quick));
  CHECK(destroyed.expired());

  watch.Discard("close", "/f", std::make_shared<Reluctant>(closed));
  CHECK(IsStall(watch.Run<Status>(kName, [] { return absl::OkStatus(); })));
  quick = std::make_shared<Reluctant>(open);
  destroyed = quick;
  watch.Discard("close", "/f", std::move(quick));
  while (!destroyed.expired()) std::this_thread::yield();
  closed->Open();
}

}  // namespace
}  // namespace dcp
