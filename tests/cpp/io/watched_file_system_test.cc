#include "io/watched_file_system.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "conformance/file_system_conformance.h"
#include "io/stall.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"
#include "testing/object_store.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using testing::FaultInjectionFileSystem;
using testing::FsOp;
using testing::Gate;

constexpr std::chrono::milliseconds kSoon{30};
constexpr std::chrono::minutes kLate{10};

TEST_CASE("a watched file system conforms", "[watched_fs][conformance]") {
  const Clock::Duration timeout = GENERATE(Clock::Duration(0), kLate);
  const testing::TempDirectory directory;
  conformance::CheckFileSystem([&] {
    return conformance::FileSystemUnderTest{
        std::make_shared<WatchedFileSystem>(MakePosixFileSystem(), timeout),
        directory.path()};
  });
}

/// Calls of kind `op` wait at the gate.
struct Hung {
  explicit Hung(FsOp op,
                std::shared_ptr<FileSystem> files = MakeMemoryFileSystem())
      : base(std::move(files)),
        faulty(std::make_shared<FaultInjectionFileSystem>(
            base,
            testing::FaultScript{.on_call =
                                     [op, gate = gate](int64_t, FsOp called,
                                                       const std::string&) {
                                       if (called == op) gate->Pass();
                                     }})),
        watched(std::make_shared<WatchedFileSystem>(faulty, kSoon)) {}
  ~Hung() { gate->Open(); }

  const std::shared_ptr<FileSystem> base;
  const std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  const std::shared_ptr<FaultInjectionFileSystem> faulty;
  std::shared_ptr<WatchedFileSystem> watched;
};

TEST_CASE("a write that hangs uses memory of its own", "[watched_fs]") {
  Hung hung(FsOp::kWrite);
  {
    auto file =
        hung.watched->Open("/f", {.mode = OpenMode::kCreateNew}).value();
    std::string bytes = "what was to be written";
    CHECK(IsStall(conformance::WriteAt(*file, 0, bytes)));
    bytes.assign(bytes.size(), '#');
  }
  hung.watched.reset();
  hung.gate->Open();
  while (hung.faulty.use_count() > 1) std::this_thread::yield();
  hung.gate->AwaitWaiting(0);
  while (conformance::MustReadFile(*hung.base, "/f").empty()) {
    std::this_thread::yield();
  }
  CHECK(conformance::MustReadFile(*hung.base, "/f") ==
        "what was to be written");
}

TEST_CASE("the lock is free when a write hangs, and held while a rename does",
          "[watched_fs]") {
  const FsOp op = GENERATE(FsOp::kSync, FsOp::kRename, FsOp::kExchange);
  const bool renames = op != FsOp::kSync;
  Hung hung(op);
  DCP_CHECK_OK(WriteFile(*hung.faulty, "/f", "bytes", SyncMode::kNone));
  DCP_CHECK_OK(WriteFile(*hung.faulty, "/f2", "more", SyncMode::kNone));
  auto lock = hung.watched->Lock("/lock", "a save").value();
  // One more, for a moment, changes nothing.
  CHECK(hung.watched->Lock("/other", "a save").ok());
  if (op == FsOp::kRename) {
    CHECK(IsStall(hung.watched->Rename("/f", "/g")));
  } else if (op == FsOp::kExchange) {
    CHECK(IsStall(hung.watched->Exchange("/f", "/f2")));
  } else {
    auto file =
        hung.watched->Open("/h", {.mode = OpenMode::kCreateNew}).value();
    CHECK(IsStall(file->Sync()));
  }
  lock.reset();
  const auto next = hung.base->Lock("/lock", "the next save");
  CHECK(next.ok() == !renames);
  hung.gate->Open();
  while (!next.ok() && !hung.base->Lock("/lock", "the next save").ok()) {
    std::this_thread::yield();
  }
}

TEST_CASE("an object that is replaced late keeps this process's next save out",
          "[watched_fs]") {
  const OpenMode mode = GENERATE(OpenMode::kReplace, OpenMode::kCreateNew);
  const bool replaces = mode == OpenMode::kReplace;
  Hung hung(FsOp::kClose, std::make_shared<testing::ObjectStore>());
  WatchedFileSystem next(hung.base, kLate);
  const auto locked = [&next] {
    const auto lock = next.Lock("/lock", "the next save");
    CHECK((lock.ok() || lock.status().code() == absl::StatusCode::kAborted));
    return !lock.ok();
  };
  auto lock = hung.watched->Lock("/lock", "a save").value();
  CHECK(locked());
  CHECK(next.LockOwner("/lock").value() == "a save");
  CHECK(next.Lock("/other", "a save elsewhere").ok());
  auto file = hung.watched->Open("/f", {.mode = mode}).value();
  CHECK(IsStall(file->Close()));
  lock.reset();
  CHECK(locked() == replaces);
  hung.gate->Open();
  while (locked()) std::this_thread::yield();
  CHECK(next.LockOwner("/lock").value() == std::nullopt);
}

}  // namespace
}  // namespace dcp
