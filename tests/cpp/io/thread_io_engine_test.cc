#include "io/thread_io_engine.h"

#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "io/engine_files.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using testing::FaultInjectionFileSystem;
using testing::FsOp;

std::unique_ptr<IoEngine> Threads(int queue_depth) {
  return std::make_unique<ThreadIoEngine>(queue_depth, 3);
}

std::unique_ptr<IoEngine> Inline(int queue_depth) {
  return std::make_unique<ThreadIoEngine>(queue_depth, 0);
}

TEST_CASE("the thread engine conforms on disk", "[threads][conformance]") {
  testing::CheckEngineOnDisk(Threads);
}
TEST_CASE("the thread engine conforms in memory", "[threads][conformance]") {
  testing::CheckEngineInMemory(Threads);
}
TEST_CASE("the inline engine conforms on disk", "[threads][conformance]") {
  testing::CheckEngineOnDisk(Inline);
}
TEST_CASE("the inline engine conforms in memory", "[threads][conformance]") {
  testing::CheckEngineInMemory(Inline);
}

TEST_CASE("an engine is called by what does its work", "[threads]") {
  CHECK(Threads(4)->name() == "threads");
  CHECK(Inline(4)->name() == "inline");
}

TEST_CASE("several threads transfer at the same time", "[threads]") {
  // Every write waits until three of them have begun; with fewer threads than
  // that the test would hang.
  Mutex mutex;
  CondVar changed;
  int begun = 0;
  std::set<std::thread::id> ids;
  FaultInjectionFileSystem fs(
      MakeMemoryFileSystem(),
      {.on_call = [&](int64_t, FsOp op, const std::string&) {
        if (op != FsOp::kWrite) return;
        const MutexLock lock(mutex);
        ++begun;
        ids.insert(std::this_thread::get_id());
        changed.NotifyAll();
        while (begun < 3) changed.Wait(mutex);
      }});
  auto file = fs.Open("/f", {.mode = OpenMode::kCreateNew}).value();
  auto engine = Threads(3);
  std::string bytes = "abc";
  std::vector<IoSlice> slices;
  for (size_t i = 0; i < 3; ++i) {
    slices.push_back({conformance::SliceOf(bytes).data + i, 1});
  }
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(engine
                ->Submit({.op = IoOp::kWrite,
                          .file = file.get(),
                          .byte_offset = static_cast<int64_t>(i),
                          .slices = {&slices[i], 1}})
                .ok());
  }
  for (int i = 0; i < 3; ++i) CHECK(engine->Wait()->status.ok());
  CHECK(ids.size() == 3);
}

TEST_CASE("the inline engine works in the caller's thread", "[threads]") {
  std::set<std::thread::id> ids;
  FaultInjectionFileSystem fs(
      MakeMemoryFileSystem(),
      {.on_call = [&](int64_t, FsOp, const std::string&) {
        ids.insert(std::this_thread::get_id());
      }});
  auto file = fs.Open("/f", {.mode = OpenMode::kCreateNew}).value();
  auto engine = Inline(2);
  REQUIRE(engine->Submit({.op = IoOp::kWrite, .file = file.get()}).ok());
  CHECK(engine->Poll().value().has_value());
  CHECK(ids == std::set{std::this_thread::get_id()});
}

}  // namespace
}  // namespace dcp
