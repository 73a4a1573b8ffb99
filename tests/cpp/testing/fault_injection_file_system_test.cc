#include "testing/fault_injection_file_system.h"

#include <catch2/catch.hpp>
#include <thread>

#include "base/mutex.h"
#include "conformance/bytes.h"

namespace dcp::testing {
namespace {

using conformance::ReadAt;
using conformance::WriteAt;

std::shared_ptr<FileSystem> DiskWith(const std::string& path,
                                     const std::string& content) {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(WriteFile(*fs, path, content, SyncMode::kNone).ok());
  return fs;
}

std::unique_ptr<File> Create(FileSystem& fs, const std::string& path) {
  return fs.Open(path, {.mode = OpenMode::kCreateNew}).value();
}

/// Replaces `path` by new content, the way that survives a power cut.
Status ReplaceSafely(FileSystem& fs, const std::string& path,
                     const std::string& content) {
  const std::string temporary = path + ".tmp";
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(temporary));
  if (exists) DCP_RETURN_IF_ERROR(fs.Remove(temporary));
  DCP_RETURN_IF_ERROR(WriteFile(fs, temporary, content, SyncMode::kSync));
  DCP_RETURN_IF_ERROR(fs.Rename(temporary, path));
  return fs.SyncDirectory("/");
}

/// The same with one mistake: the file is not synced.
Status ReplaceUnsafely(FileSystem& fs, const std::string& path,
                       const std::string& content) {
  DCP_RETURN_IF_ERROR(WriteFile(fs, path + ".tmp", content, SyncMode::kNone));
  DCP_RETURN_IF_ERROR(fs.Rename(path + ".tmp", path));
  return fs.SyncDirectory("/");
}

/// Cuts the power after every call of `replace`; counts reboots after which
/// /f is neither "old" nor "new", or is not "new" although it returned OK.
template <typename Replace>
int CountBadReboots(const Replace& replace) {
  int bad = 0;
  bool finished = false;
  for (int64_t n = 0; !finished; ++n) {
    FaultInjectionFileSystem fs(DiskWith("/f", "old"), {.power_cut_after = n});
    finished = replace(fs, "/f", "new").ok();
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto policy =
          seed == 0 ? RebootPolicy::kDropUnsynced : RebootPolicy::kKeepRandomly;
      auto disk = fs.AfterReboot(policy, seed);
      const auto content = ReadFile(*disk, "/f", 100, {});
      const bool is_new = content.ok() && *content == "new";
      const bool is_old = content.ok() && *content == "old";
      if (!is_new && (finished || !is_old)) ++bad;
    }
  }
  return bad;
}

TEST_CASE("power cuts tell a safe protocol from an unsafe one", "[fault_fs]") {
  CHECK(CountBadReboots(ReplaceSafely) == 0);
  CHECK(CountBadReboots(ReplaceUnsafely) > 0);
}

TEST_CASE("calls are counted in order over all files and names", "[fault_fs]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  REQUIRE(fs.MakeDirectories("/d").ok());
  auto a = Create(fs, "/d/a");
  auto b = Create(fs, "/d/b");
  REQUIRE(WriteAt(*b, 0, "b").ok());
  REQUIRE(WriteAt(*a, 0, "a").ok());
  REQUIRE(a->Allocate(10).ok());
  REQUIRE(a->Truncate(5).ok());
  REQUIRE(b->Size().ok());
  REQUIRE(a->Close().ok());
  REQUIRE(fs.List("/d").ok());
  REQUIRE(fs.Space("/d").ok());
  CHECK(fs.log() == std::vector<FsCall>{{FsOp::kMakeDirectories, "/d"},
                                        {FsOp::kOpen, "/d/a"},
                                        {FsOp::kOpen, "/d/b"},
                                        {FsOp::kWrite, "/d/b"},
                                        {FsOp::kWrite, "/d/a"},
                                        {FsOp::kAllocate, "/d/a"},
                                        {FsOp::kTruncate, "/d/a"},
                                        {FsOp::kSize, "/d/b"},
                                        {FsOp::kClose, "/d/a"},
                                        {FsOp::kList, "/d"},
                                        {FsOp::kSpace, "/d"}});
  CHECK(fs.calls() == 11);
}

TEST_CASE("a fault hits the call that it names, once or from then on",
          "[fault_fs]") {
  auto disk = DiskWith("/f", "x");
  const auto exists = [](FaultInjectionFileSystem& fs) {
    std::string outcome;
    for (int i = 0; i < 4; ++i) outcome += fs.Exists("/f").ok() ? '+' : '-';
    return outcome;
  };
  FaultInjectionFileSystem once(disk, {.faults = {{.call = 2}}});
  CHECK(exists(once) == "+-++");
  FaultInjectionFileSystem always(
      disk, {.faults = {{.call = 3, .duration = FaultDuration::kFromThenOn}}});
  CHECK(exists(always) == "++--");
  FaultInjectionFileSystem by_op(disk,
                                 {.faults = {{.call = 3, .op = FsOp::kExists},
                                             {.call = 1, .op = FsOp::kSync}}});
  REQUIRE(by_op.List("/").ok());
  CHECK(exists(by_op) == "++-+");
  by_op.Restart({.faults = {{.call = 1, .error_number = ENOSPC}}});
  const Status status = by_op.Exists("/f").status();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(status)->path == "/f");
  CHECK(by_op.calls() == 1);
}

TEST_CASE("a failing call does nothing, half or all of its work",
          "[fault_fs]") {
  const auto [effect, left] = GENERATE(
      table<FaultEffect, std::string>({{FaultEffect::kNone, ""},
                                       {FaultEffect::kPartial, "012"},
                                       {FaultEffect::kFull, "012345"}}));
  auto disk = MakeMemoryFileSystem();
  FaultInjectionFileSystem fs(
      disk, {.faults = {{.op = FsOp::kWrite, .effect = effect},
                        {.op = FsOp::kRename, .effect = effect}}});
  auto file = Create(fs, "/f");
  CHECK_FALSE(WriteAt(*file, 0, "012345").ok());
  CHECK_FALSE(fs.Rename("/f", "/g").ok());
  const bool renamed = effect == FaultEffect::kFull;
  CHECK(disk->Exists("/g").value() == renamed);
  const std::string path = renamed ? "/g" : "/f";
  CHECK(ReadFile(*disk, path, 100, {}).value() == left);
  auto after = fs.AfterReboot(RebootPolicy::kKeepAll);
  CHECK(ReadFile(*after, path, 100, {}).value() == left);
}

TEST_CASE("a failed sync stays failed, and its data is lost", "[fault_fs]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem(),
                              {.faults = {{.op = FsOp::kSync}}});
  auto file = Create(fs, "/f");
  REQUIRE(fs.SyncDirectory("/").ok());
  REQUIRE(WriteAt(*file, 0, "data").ok());
  CHECK_FALSE(file->Sync().ok());
  CHECK_FALSE(file->Sync().ok());
  // Another descriptor is told nothing, and its sync saves nothing.
  auto other = fs.Open("/f", {}).value();
  CHECK(other->Sync().ok());
  CHECK(ReadAt(*other, 0, 4).value() == "data");
  CHECK(ReadFile(*fs.AfterReboot(), "/f", 100, {}).value().empty());
}

TEST_CASE("a failing close closes all the same", "[fault_fs]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem(),
                              {.faults = {{.op = FsOp::kClose}}});
  auto file = Create(fs, "/f");
  CHECK(GetErrorDetail(file->Close())->error_number == EIO);
  CHECK(file->Close().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("after a power cut nothing works and nothing changes", "[fault_fs]") {
  auto disk = MakeMemoryFileSystem();
  FaultInjectionFileSystem fs(disk, {.power_cut_after = 2});
  auto file = Create(fs, "/f");
  CHECK_FALSE(fs.power_is_cut());
  REQUIRE(WriteAt(*file, 0, "data").ok());
  CHECK(fs.power_is_cut());
  CHECK_THAT(std::string(Message(file->Sync())),
             Catch::Contains("the power is cut"));
  CHECK_FALSE(fs.Remove("/f").ok());
  CHECK_FALSE(fs.Exists("/f").ok());
  CHECK_FALSE(file->Close().ok());
  CHECK(disk->Exists("/f").value());
  CHECK_FALSE(fs.AfterReboot()->Exists("/f").value());
  const auto kept = fs.AfterReboot(RebootPolicy::kKeepAll);
  CHECK(ReadFile(*kept, "/f", 100, {}).value() == "data");
}

TEST_CASE("cached reads may be cut short at random", "[fault_fs]") {
  auto disk = DiskWith("/f", "0123456789");
  FaultInjectionFileSystem fs(
      disk, {.cached_reads = CachedReads::kRandomlyShort, .seed = 1});
  auto file = fs.Open("/f", {}).value();
  std::string bytes(10, '?');
  const IoSlice slice = conformance::SliceOf(bytes);
  int64_t shortest = 10;
  int64_t longest = 0;
  for (int i = 0; i < 200; ++i) {
    const int64_t n = file->ReadCached(0, {&slice, 1}).value();
    shortest = std::min(shortest, n);
    longest = std::max(longest, n);
  }
  CHECK(shortest == 0);
  CHECK(longest == 10);
}

TEST_CASE("the hook may wait while other calls go on", "[fault_fs]") {
  Mutex mutex;
  CondVar changed;
  bool waiting = false;
  bool released = false;
  FaultInjectionFileSystem fs(
      DiskWith("/f", "x"),
      {.on_call = [&](int64_t, FsOp op, const std::string& path) {
        if (op != FsOp::kRemove || path != "/f") return;
        const MutexLock lock(mutex);
        waiting = true;
        changed.NotifyAll();
        while (!released) changed.Wait(mutex);
      }});
  Status removed;
  std::thread stuck([&] { removed = fs.Remove("/f"); });
  {
    const MutexLock lock(mutex);
    while (!waiting) changed.Wait(mutex);
  }
  CHECK(fs.Exists("/f").value());
  CHECK(WriteFile(fs, "/g", "y", SyncMode::kSync).ok());
  {
    const MutexLock lock(mutex);
    released = true;
    changed.NotifyAll();
  }
  stuck.join();
  CHECK(removed.ok());
  CHECK_FALSE(fs.Exists("/f").value());
}

TEST_CASE("writes of several threads are all tracked", "[fault_fs]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  auto file = Create(fs, "/f");
  constexpr int64_t kThreads = 4;
  constexpr int64_t kWrites = 100;
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < kWrites; ++i) {
        (void)WriteAt(*file, i * kThreads + t, std::string(1, 'x'));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(file->Sync().ok());
  REQUIRE(fs.SyncDirectory("/").ok());
  CHECK(fs.calls() == kThreads * kWrites + 3);
  CHECK(ReadFile(*fs.AfterReboot(), "/f", 1000, {}).value() ==
        std::string(kThreads * kWrites, 'x'));
}

TEST_CASE("a reboot needs a memory file system below", "[fault_fs]") {
  const FaultInjectionFileSystem fs(MakePosixFileSystem());
  CHECK_THROWS_AS(fs.AfterReboot(), std::logic_error);
}

}  // namespace
}  // namespace dcp::testing
