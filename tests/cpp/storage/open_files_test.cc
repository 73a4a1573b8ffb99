#include "storage/open_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

StoredItem ItemIn(const std::string& path) {
  return {.index = {.fqn = "weight"},
          .info = {.relative_path = path, .offset = 0, .length = 4}};
}

Status Opening(FileSystem& fs, const std::string& directory,
               const std::string& path) {
  const Sidecar none;
  OpenFiles files(fs, directory, DirectIo::kOff, none);
  return files.Get(ItemIn(path)).status();
}

TEST_CASE("a path that leaves the checkpoint is refused, and names the item",
          "[storage]") {
  const testing::TempDirectory temp;
  auto fs = MakePosixFileSystem();
  const std::string directory = temp.path() + "/ckpt";
  DCP_CHECK_OK(fs->MakeDirectories(directory + "/sub"));
  DCP_CHECK_OK(
      WriteFile(*fs, temp.path() + "/secret", "abcd", SyncMode::kNone));
  DCP_CHECK_OK(WriteFile(*fs, directory + "/good", "abcd", SyncMode::kNone));
  DCP_CHECK_OK(
      WriteFile(*fs, directory + "/sub/good", "abcd", SyncMode::kNone));
  REQUIRE(symlink("../secret", (directory + "/link").c_str()) == 0);
  REQUIRE(symlink("..", (directory + "/up").c_str()) == 0);
  REQUIRE(symlink((temp.path() + "/secret").c_str(),
                  (directory + "/absolute").c_str()) == 0);
  REQUIRE(symlink("sub/good", (directory + "/inside").c_str()) == 0);
  for (const char* path : {"good", "sub/good", "inside"}) {
    INFO(path);
    DCP_CHECK_OK(Opening(*fs, directory, path));
    DCP_CHECK_OK(Opening(*fs, directory + "/", path));
  }
  const std::string outside = temp.path() + "/secret";
  for (const std::string& path :
       {std::string("../secret"), std::string("sub/../../secret"), outside,
        std::string("link"), std::string("up/secret"), std::string("absolute"),
        std::string(), std::string("."), std::string("sub"),
        std::string("go\0od", 5), std::string("sub//good"),
        std::string("./good")}) {
    INFO(path);
    const Status status = Opening(*fs, directory, path);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(status)), Catch::Contains("weight"));
  }
  CHECK(Opening(*fs, directory, "absent").code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE("a hub cache's snapshot may link to blobs of its model",
          "[storage]") {
  const testing::TempDirectory temp;
  auto fs = MakePosixFileSystem();
  const std::string model = temp.path() + "/models--a--b";
  const std::string snapshot = model + "/snapshots/1";
  DCP_CHECK_OK(fs->MakeDirectories(snapshot));
  DCP_CHECK_OK(fs->MakeDirectories(model + "/blobs"));
  DCP_CHECK_OK(WriteFile(*fs, model + "/blobs/x", "abcd", SyncMode::kNone));
  DCP_CHECK_OK(
      WriteFile(*fs, temp.path() + "/secret", "abcd", SyncMode::kNone));
  REQUIRE(symlink("../../blobs/x", (snapshot + "/good").c_str()) == 0);
  REQUIRE(symlink("../../../secret", (snapshot + "/bad").c_str()) == 0);
  DCP_CHECK_OK(Opening(*fs, snapshot, "good"));
  CHECK(Opening(*fs, snapshot, "bad").code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a FIFO in a file's place is refused without waiting", "[storage]") {
  const testing::TempDirectory temp;
  REQUIRE(mkfifo((temp.path() + "/fifo").c_str(), 0600) == 0);
  CHECK(Opening(*MakePosixFileSystem(), temp.path(), "fifo").code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("every file is opened once", "[storage]") {
  testing::FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  DCP_CHECK_OK(WriteFile(fs, "/f", "abcd", SyncMode::kNone));
  fs.Restart({});
  const Sidecar none;
  OpenFiles files(fs, "/", DirectIo::kOff, none);
  const auto first = files.Get(ItemIn("f"));
  const auto second = files.Get(ItemIn("f"));
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(*first == *second);
  CHECK((*first)->nbytes == 4);
  CHECK((*first)->record == nullptr);
  CHECK(fs.calls() == 2);  // open and size
}

TEST_CASE("a file that is not as long as recorded is damage", "[storage]") {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(WriteFile(*fs, "/f", "abcd", SyncMode::kNone));
  for (int64_t nbytes : {3, 4, 5}) {
    Sidecar sidecar;
    sidecar.files.push_back({.name = "f", .nbytes = nbytes, .block_crcs = {0}});
    OpenFiles files(*fs, "/", DirectIo::kOff, sidecar);
    const auto file = files.Get(ItemIn("f"));
    CHECK(file.ok() == (nbytes == 4));
    if (nbytes == 4) continue;
    CHECK(file.status().code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(file.status())),
               Catch::Contains("4 bytes") && Catch::Contains("weight"));
  }
}

}  // namespace
}  // namespace dcp
