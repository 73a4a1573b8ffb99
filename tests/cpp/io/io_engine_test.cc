#include "dcp/io_engine.h"

#include <catch2/catch.hpp>

#include "io/engine_files.h"
#include "io/uring_io_engine.h"
#include "testing/fault_injection_io_engine.h"

namespace dcp {
namespace {

TEST_CASE("the choice of an engine is the same each time", "[io_engine]") {
  const auto first = SelectIoEngine(IoEngineKind::kAuto);
  const auto second = SelectIoEngine(IoEngineKind::kAuto);
  REQUIRE(first.ok());
  CHECK(first->kind == second->kind);
  CHECK(first->reason == second->reason);
  CHECK(first->kind != IoEngineKind::kAuto);
  CHECK_FALSE(first->reason.empty());
  CHECK((first->kind == IoEngineKind::kUring) == ProbeUring().ok());
  auto engine = MakeIoEngine({});
  REQUIRE(engine.ok());
  CHECK(((*engine)->name() == "io_uring") == ProbeUring().ok());
}

TEST_CASE("an engine that is asked for is the one that is made",
          "[io_engine]") {
  CHECK(SelectIoEngine(IoEngineKind::kThreads)->kind == IoEngineKind::kThreads);
  CHECK(MakeIoEngine({.kind = IoEngineKind::kThreads}).value()->name() ==
        "threads");
  CHECK(MakeIoEngine({.kind = IoEngineKind::kThreads, .threads = 0})
            .value()
            ->name() == "inline");
  const auto uring = MakeIoEngine({.kind = IoEngineKind::kUring});
  if (ProbeUring().ok()) {
    CHECK(uring.value()->name() == "io_uring");
    CHECK(uring.value()->queue_depth() == 16);
  } else {
    CHECK(uring.status().code() == absl::StatusCode::kUnimplemented);
  }
}

TEST_CASE("options of an engine have limits", "[io_engine]") {
  const auto code = [](const IoEngineOptions& options) {
    return MakeIoEngine(options).status().code();
  };
  const auto refused = absl::StatusCode::kInvalidArgument;
  CHECK(code({.queue_depth = 0}) == refused);
  CHECK(code({.queue_depth = -1}) == refused);
  CHECK(code({.queue_depth = 4097}) == refused);
  CHECK(code({.threads = -1}) == refused);
  CHECK(code({.threads = 257}) == refused);
  CHECK(code({.queue_depth = 4096, .threads = 1}) == absl::StatusCode::kOk);
}

TEST_CASE("every kind of engine conforms as it is made by default",
          "[io_engine][conformance]") {
  const auto kind = GENERATE(IoEngineKind::kAuto, IoEngineKind::kThreads);
  testing::CheckEngineOnDisk([&](int queue_depth) {
    return MakeIoEngine({.kind = kind, .queue_depth = queue_depth}).value();
  });
}

TEST_CASE("an engine that shuffles and waits conforms",
          "[io_engine][conformance]") {
  testing::CheckEngineInMemory([](int queue_depth) {
    return std::make_unique<testing::FaultInjectionIoEngine>(
        MakeIoEngine(
            {.kind = IoEngineKind::kThreads, .queue_depth = queue_depth})
            .value(),
        testing::EngineFaultScript{.order = testing::CompletionOrder::kShuffled,
                                   .max_idle_polls = 3,
                                   .seed = 1});
  });
}

}  // namespace
}  // namespace dcp
