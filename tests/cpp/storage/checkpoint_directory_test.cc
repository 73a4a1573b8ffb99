#include "storage/checkpoint_directory.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using testing::FaultInjectionFileSystem;
using testing::FsOp;

std::vector<std::string> SyncedBy(const std::string& existing,
                                  const std::string& path) {
  auto base = MakeMemoryFileSystem();
  DCP_CHECK_OK(base->MakeDirectories(existing));
  FaultInjectionFileSystem fs(base);
  DCP_CHECK_OK(MakeCheckpointDirectory(fs, path, SyncMode::kSync));
  CHECK(fs.Exists(path).value());
  std::vector<std::string> synced;
  for (const testing::FsCall& call : fs.log()) {
    if (call.op == FsOp::kSyncDirectory) synced.push_back(call.path);
  }
  return synced;
}

TEST_CASE("what is no file cannot be replaced by metadata", "[storage]") {
  const auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/c"));
  DCP_CHECK_OK(RequireReplaceable(*fs, "/c", {}));
  DCP_CHECK_OK(fs->MakeDirectories("/c/.metadata"));
  const Status status = RequireReplaceable(*fs, "/c", {});
  const auto detail = GetErrorDetail(status);
  REQUIRE(detail.has_value());
  CHECK(detail->error_number == EISDIR);
  CHECK(detail->path == "/c/.metadata");
  // The file of a rank for itself has another name.
  DCP_CHECK_OK(RequireReplaceable(*fs, "/c", {.use_collectives = false}));
}

TEST_CASE("the holders of all new names are synced", "[storage]") {
  using Paths = std::vector<std::string>;
  CHECK(SyncedBy("/", "/a") == Paths{"/"});
  CHECK(SyncedBy("/", "/a/b/c") == Paths{"/a/b", "/a", "/"});
  CHECK(SyncedBy("/a", "/a/b//c/") == Paths{"/a/b", "/a"});
  CHECK(SyncedBy("/a/b", "/a/b") == Paths{"/a"});
  CHECK(SyncedBy("/", "a/b") == Paths{"a", "."});
  CHECK(SyncedBy("/", "/").empty());
}

TEST_CASE("a holder that cannot be synced is an error", "[storage]") {
  for (const char* existing : {"/", "/a"}) {
    for (int error : {EIO, EACCES}) {
      auto base = MakeMemoryFileSystem();
      DCP_CHECK_OK(base->MakeDirectories(existing));
      FaultInjectionFileSystem fs(
          base,
          {.faults = {{.op = FsOp::kSyncDirectory, .error_number = error}}});
      const Status status = MakeCheckpointDirectory(fs, "/a", SyncMode::kSync);
      // What others made may lie where nobody may look.
      const bool tolerated = error == EACCES && std::string(existing) == "/a";
      CHECK(status.ok() == tolerated);
    }
  }
}

TEST_CASE("nothing is synced if that was not asked for", "[storage]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  DCP_CHECK_OK(MakeCheckpointDirectory(fs, "/a/b", SyncMode::kNone));
  CHECK(fs.log() ==
        std::vector<testing::FsCall>{{FsOp::kMakeDirectories, "/a/b"}});
}

TEST_CASE("directories are made on a disk", "[storage]") {
  const testing::TempDirectory temp;
  auto fs = MakePosixFileSystem();
  DCP_CHECK_OK(
      MakeCheckpointDirectory(*fs, temp.path() + "/x//y/", SyncMode::kSync));
  CHECK(fs->Exists(temp.path() + "/x/y").value());
}

}  // namespace
}  // namespace dcp
