#include "io/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <iostream>

#include "conformance/bytes.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::AlignedBytes;
using conformance::RandomBytes;
using conformance::ReadAt;
using conformance::WriteAt;
using testing::TempDirectory;

int ErrnoOf(const Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail ? detail->error_number : 0;
}

TEST_CASE("a failed sync is not tried again", "[posix_file]") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd read_end(ends[0]);
  PosixFile file("pipe", UniqueFd(ends[1]), std::nullopt);
  const Status first = file.Sync();
  CHECK(ErrnoOf(first) == EINVAL);  // fsync(2) of a pipe
  // From here on fsync would succeed, as it does after the kernel reported a
  // write error once; the file must not be believed.
  const TempDirectory directory;
  const UniqueFd good(::open(JoinPath(directory.path(), "f").c_str(),
                             O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  REQUIRE(::dup2(good.get(), file.fd()) == file.fd());
  const Status second = file.Sync();
  CHECK(ErrnoOf(second) == EINVAL);
  CHECK_THAT(std::string(Message(second)), Catch::Contains("the data is lost"));
}

TEST_CASE("a full device is named with the place", "[posix_file]") {
  PosixFile file("/dev/full",
                 UniqueFd(::open("/dev/full", O_WRONLY | O_CLOEXEC)),
                 std::nullopt);
  const Status status = WriteAt(file, 4096, "x");
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(Message(status) ==
        "pwrite /dev/full [offset=4096 B, n=1 B]: No space left on device");
}

TEST_CASE("more than there is cannot be reserved", "[posix_file]") {
  const TempDirectory directory;
  auto file = MakePosixFileSystem()
                  ->Open(JoinPath(directory.path(), "f"),
                         {.mode = OpenMode::kCreateNew})
                  .value();
  const Status status = file->Allocate(int64_t{1} << 60);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(status)->op == "fallocate");
}

TEST_CASE("descriptors are closed on exec, and block", "[posix_file]") {
  const TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  auto fs = MakePosixFileSystem();
  REQUIRE(WriteFile(*fs, path, "x", SyncMode::kNone).ok());
  const auto file = fs->Open(path, {.direct_io = DirectIo::kTry}).value();
  CHECK((::fcntl(file->fd(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(file->fd(), F_GETFL) & O_NONBLOCK) == 0);
  if (file->direct_fd() >= 0) {
    CHECK((::fcntl(file->direct_fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(file->direct_fd(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(file->direct_fd(), F_GETFL) & O_DIRECT) != 0);
  }
  CHECK(file->Close().ok());
  CHECK(file->fd() == -1);
  CHECK(file->direct_fd() == -1);
}

TEST_CASE("direct I/O leaves nothing in the page cache", "[posix_file]") {
  const TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  auto fs = MakePosixFileSystem();
  auto file = fs->Open(path, {.mode = OpenMode::kCreateNew,
                              .direct_io = DirectIo::kTry})
                  .value();
  if (!file->direct_io()) {
    std::cerr << "SKIP (1 case): no direct I/O in " << directory.path() << "\n";
    return;
  }
  constexpr size_t kNbytes = 1 << 18;
  const std::string expected = RandomBytes(1, kNbytes);
  AlignedBytes memory(kNbytes);
  memory.Fill(expected);
  const IoSlice slice = memory.slice();
  REQUIRE(file->WriteFully(0, {&slice, 1}).ok());
  REQUIRE(file->Truncate(kNbytes - 100).ok());
  REQUIRE(file->Close().ok());

  file = fs->Open(path, {.direct_io = DirectIo::kRequire}).value();
  const IoSlice block{slice.data, kNbytes / 2};
  REQUIRE(file->ReadFully(0, {&block, 1}).ok());
  CHECK(file->ReadCached(0, {&block, 1}).value() == 0);
  CHECK((memory.str() == expected));
  // Aligned, but the file ends 100 bytes before.
  const Status past = file->ReadFully(0, {&slice, 1});
  CHECK(past.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(past)),
             Catch::Contains("file ends at " + std::to_string(kNbytes - 100)));
  CHECK((ReadAt(*file, 0, kNbytes - 100).value() ==
         expected.substr(0, kNbytes - 100)));
}

TEST_CASE("a file that refuses direct I/O goes on without", "[posix_file]") {
  const TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  UniqueFd direct(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
  if (!direct.ok()) {
    std::cerr << "SKIP (1 case): no direct I/O in " << directory.path() << "\n";
    return;
  }
  // A file system that asks for more than it says.
  PosixFile file(path, std::move(fd),
                 DirectDescriptor{.fd = std::move(direct),
                                  .alignment = {.memory = 1, .offset = 1}});
  REQUIRE(file.direct_io().has_value());
  REQUIRE(WriteAt(file, 7, "unaligned").ok());
  CHECK_FALSE(file.direct_io().has_value());
  CHECK(file.direct_fd() == -1);
  CHECK(file.Close().ok());
  CHECK(ReadFile(*MakePosixFileSystem(), path, 100, {}).value() ==
        std::string(7, '\0') + "unaligned");
}

TEST_CASE("offsets beyond 4 GiB are kept", "[posix_file]") {
  constexpr int64_t kFar = int64_t{5} << 30;
  const TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "sparse");
  auto fs = MakePosixFileSystem();
  auto file = fs->Open(path, {.mode = OpenMode::kCreateNew}).value();
  REQUIRE(WriteAt(*file, kFar, "far").ok());
  CHECK(file->Size().value() == kFar + 3);
  REQUIRE(file->Close().ok());
  file = fs->Open(path, {}).value();
  CHECK(ReadAt(*file, kFar - 1, 4).value() == std::string("\0far", 4));
}

}  // namespace
}  // namespace dcp
