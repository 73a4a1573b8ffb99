#include "storage/commit.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/limits.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using conformance::MustReadFile;
using testing::FaultInjectionFileSystem;
using testing::FsCall;
using testing::FsOp;

CommitRequest Request() {
  return {.directory = "/",
          .metadata_name = ".metadata",
          .metadata = "new",
          .save_id = "dcpcpp-1",
          .sidecar = "checksums"};
}

TEST_CASE("everything is durable before the rename, and the rename after it",
          "[storage]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  CommitProgress progress;
  DCP_CHECK_OK(Commit(fs, Request(), &progress));
  CHECK(progress.attempted);
  const std::string sidecar = "/.dcpcpp-1";
  const std::string temporary = "/.dcpcpp-1.tmp";
  CHECK(fs.log() == std::vector<FsCall>{{FsOp::kOpen, sidecar},
                                        {FsOp::kWrite, sidecar},
                                        {FsOp::kSync, sidecar},
                                        {FsOp::kClose, sidecar},
                                        {FsOp::kOpen, temporary},
                                        {FsOp::kWrite, temporary},
                                        {FsOp::kSync, temporary},
                                        {FsOp::kClose, temporary},
                                        {FsOp::kSyncDirectory, "/"},
                                        {FsOp::kRename, temporary},
                                        {FsOp::kSyncDirectory, "/"}});
  CHECK(MustReadFile(fs, "/.metadata") == "new");
  CHECK(MustReadFile(fs, sidecar) == "checksums");
}

TEST_CASE("a commit that the system refused was none", "[storage]") {
  const auto [error, may_be_done] = GENERATE(table<int, bool>({
      {EPERM, false},
      {EACCES, false},
      {EROFS, false},
      {EIO, true},
      {ENOENT, true},
      {ESTALE, true},
  }));
  INFO(error);
  FaultInjectionFileSystem fs(
      MakeMemoryFileSystem(),
      {.faults = {{.op = FsOp::kRename, .error_number = error}}});
  CommitProgress progress;
  CHECK_FALSE(Commit(fs, Request(), &progress).ok());
  CHECK(progress.attempted == may_be_done);
}

TEST_CASE("without syncs the order is the same", "[storage]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  CommitRequest request = Request();
  request.sync = SyncMode::kNone;
  CommitProgress progress;
  DCP_CHECK_OK(Commit(fs, request, &progress));
  CHECK(fs.calls() == 7);
  CHECK(MustReadFile(fs, "/.metadata") == "new");
}

TEST_CASE("a checkpoint without a sidecar is published without one",
          "[storage]") {
  const auto fs = MakeMemoryFileSystem();
  CommitRequest request = Request();
  request.sidecar.clear();
  CommitProgress progress;
  DCP_CHECK_OK(Commit(*fs, request, &progress));
  CHECK(MustReadFile(*fs, "/.metadata") == "new");
  CHECK_FALSE(fs->Exists("/.dcpcpp-1").value());
  CHECK(progress.created == std::vector<std::string>{".dcpcpp-1.tmp"});
}

TEST_CASE("an index is durable before the sidecar that names it", "[storage]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  CommitRequest request = Request();
  request.index = "chunks";
  CommitProgress progress;
  DCP_CHECK_OK(Commit(fs, request, &progress));
  const std::string index = "/.dcpcpp-1.index";
  const auto log = fs.log();
  REQUIRE(log.size() == 15);
  CHECK(std::vector<FsCall>(log.begin(), log.begin() + 5) ==
        std::vector<FsCall>{{FsOp::kOpen, index},
                            {FsOp::kWrite, index},
                            {FsOp::kSync, index},
                            {FsOp::kClose, index},
                            {FsOp::kOpen, "/.dcpcpp-1"}});
  CHECK(MustReadFile(fs, index) == "chunks");
  CHECK(progress.created == std::vector<std::string>{".dcpcpp-1.index",
                                                     ".dcpcpp-1",
                                                     ".dcpcpp-1.tmp"});
}

TEST_CASE("a commit that fails says whether it may have happened",
          "[storage]") {
  for (int64_t call = 1; call <= 11; ++call) {
    INFO("call " << call);
    auto memory = MakeMemoryFileSystem();
    DCP_CHECK_OK(WriteFile(*memory, "/.metadata", "old", SyncMode::kSync));
    FaultInjectionFileSystem fs(memory, {.faults = {{.call = call}}});
    CommitProgress progress;
    CHECK_FALSE(Commit(fs, Request(), &progress).ok());
    CHECK(progress.attempted == (call >= 10));
    CHECK(MustReadFile(fs, "/.metadata") == (call == 11 ? "new" : "old"));
    // What it made is known; what failed half-way is gone.
    std::vector<std::string> names;
    for (const char* name : {".dcpcpp-1", ".dcpcpp-1.tmp"}) {
      if (fs.Exists(JoinPath("/", name)).value()) names.emplace_back(name);
    }
    if (call == 11) names.emplace_back(".dcpcpp-1.tmp");  // renamed since
    CHECK(progress.created == names);
  }
}

TEST_CASE("what loads would refuse to read is not published", "[storage]") {
  constexpr int64_t kMost = std::max(
      {kMaxMetadataNbytes, kMaxIndexedMetadataNbytes, kMaxSidecarNbytes});
  constexpr size_t kNbytes = static_cast<size_t>(kMost) + 1;
  // Takes no memory, and must not be looked at.
  void* const pages =
      ::mmap(nullptr, kNbytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(pages != MAP_FAILED);
  const auto of = [pages](int64_t most) {
    return std::string_view(static_cast<const char*>(pages),
                            static_cast<size_t>(most) + 1);
  };
  std::vector<CommitRequest> requests(2, Request());
  requests[0].metadata = of(kMaxMetadataNbytes);
  requests[1].index = of(kMaxIndexedMetadataNbytes);
  for (const CommitRequest& request : requests) {
    FaultInjectionFileSystem fs(MakeMemoryFileSystem());
    CommitProgress progress;
    const Status status = Commit(fs, request, &progress);
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK_THAT(std::string(Message(status)),
               Catch::Contains("metadata of this checkpoint would have"));
    CHECK_FALSE(progress.attempted);
    CHECK(fs.calls() == 0);
  }
  REQUIRE(::munmap(pages, kNbytes) == 0);
}

TEST_CASE("a sidecar of another save is left alone", "[storage]") {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(WriteFile(*fs, "/.dcpcpp-1", "theirs", SyncMode::kNone));
  CommitProgress progress;
  const Status status = Commit(*fs, Request(), &progress);
  CHECK(status.code() == absl::StatusCode::kAlreadyExists);
  CHECK_FALSE(progress.attempted);
  CHECK(progress.created.empty());
  CHECK(MustReadFile(*fs, "/.dcpcpp-1") == "theirs");
}

TEST_CASE("files are removed as far as that works", "[storage]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem(),
                              {.faults = {{.call = 1, .op = FsOp::kRemove}}});
  for (const char* name : {"/a", "/b"}) {
    DCP_CHECK_OK(WriteFile(fs, name, "x", SyncMode::kNone));
  }
  RemoveFiles(fs, "/", {"a", "absent", "b"}).IgnoreError();
  CHECK(fs.Exists("/a").value());
  CHECK_FALSE(fs.Exists("/b").value());
}

}  // namespace
}  // namespace dcp
