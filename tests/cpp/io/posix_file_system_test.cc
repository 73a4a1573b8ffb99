#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <iostream>

#include "conformance/file_system_conformance.h"
#include "dcp/file_system.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::CheckFileSystem;
using conformance::FileSystemUnderTest;
using testing::TempDirectory;

constexpr const char* kTmpfs = "/dev/shm";

/// Says loudly when there is no memory file system to test on.
bool HasTmpfs() {
  if (::access(kTmpfs, W_OK) == 0) return true;
  std::cerr << "SKIP (1 case): " << kTmpfs << " is not writable\n";
  return false;
}

TEST_CASE("the POSIX file system conforms", "[posix][conformance]") {
  const TempDirectory directory;
  CheckFileSystem([&] {
    return FileSystemUnderTest{MakePosixFileSystem(), directory.path()};
  });
}

TEST_CASE("the POSIX file system conforms on tmpfs", "[posix][conformance]") {
  if (!HasTmpfs()) return;
  const TempDirectory directory(kTmpfs);
  CheckFileSystem([&] {
    return FileSystemUnderTest{MakePosixFileSystem(), directory.path()};
  });
}

TEST_CASE("fault injection over the POSIX file system conforms",
          "[posix][conformance]") {
  const TempDirectory directory;
  CheckFileSystem([&] {
    return FileSystemUnderTest{
        std::make_shared<testing::FaultInjectionFileSystem>(
            MakePosixFileSystem()),
        directory.path()};
  });
}

TEST_CASE("tmpfs has no direct I/O, and says so before anything is left",
          "[posix]") {
  if (!HasTmpfs()) return;
  const TempDirectory directory(kTmpfs);
  const std::string path = JoinPath(directory.path(), "f");
  auto fs = MakePosixFileSystem();
  const auto required = fs->Open(
      path, {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kRequire});
  CHECK(required.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(required.status())), Catch::Contains(path));
  CHECK_FALSE(fs->Exists(path).value());
  auto file = fs->Open(
      path, {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kTry});
  REQUIRE(file.ok());
  CHECK((*file)->direct_io() == std::nullopt);
  CHECK((*file)->direct_fd() == -1);
}

TEST_CASE("a link is listed as what it points to", "[posix]") {
  const TempDirectory directory;
  const std::filesystem::path root = directory.path();
  auto fs = MakePosixFileSystem();
  REQUIRE(WriteFile(*fs, root / "file", "x", SyncMode::kNone).ok());
  std::filesystem::create_symlink("file", root / "to_file");
  std::filesystem::create_symlink(".", root / "to_directory");
  std::filesystem::create_symlink("nothing", root / "dangling");
  using Names = std::vector<std::pair<std::string, FileKind>>;
  CHECK(conformance::SortedList(*fs, root) ==
        Names{{"dangling", FileKind::kOther},
              {"file", FileKind::kFile},
              {"to_directory", FileKind::kDirectory},
              {"to_file", FileKind::kFile}});
  const auto entries = fs->List(root).value();
  for (const DirectoryEntry& entry : entries) {
    CAPTURE(entry.name);
    CHECK(entry.is_link == (entry.name != "file"));
  }
  CHECK(fs->Remove(root / "to_directory").ok());
  CHECK(fs->Exists(root / "file").value());
}

TEST_CASE("directories are made below links and beside slashes", "[posix]") {
  const TempDirectory directory;
  const std::filesystem::path root = directory.path();
  auto fs = MakePosixFileSystem();
  REQUIRE(fs->MakeDirectories(root / "a").ok());
  std::filesystem::create_directory_symlink("a", root / "link");
  CHECK(fs->MakeDirectories((root / "link/b//c/").string()).ok());
  CHECK(fs->Exists(root / "a/b/c").value());
  CHECK(fs->MakeDirectories("/").ok());
  std::filesystem::create_directory_symlink("nothing", root / "dangling");
  CHECK_FALSE(fs->MakeDirectories(root / "dangling").ok());
  CHECK(fs->MakeDirectories("").code() == absl::StatusCode::kNotFound);
}

TEST_CASE("relative paths begin in the process's directory", "[posix]") {
  const TempDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  auto fs = MakePosixFileSystem();
  CHECK(fs->MakeDirectories("x/y").ok());
  CHECK(WriteFile(*fs, "x/f", "f", SyncMode::kSync).ok());
  CHECK(fs->SyncDirectory("x").ok());
  CHECK(ReadFile(*fs, "x/f", 1, {.beneath = "x"}).value() == "f");
  const std::string absolute = fs->Absolute("x/../x/y");
  std::filesystem::current_path(before);
  CHECK(fs->Exists(JoinPath(directory.path(), "x/y")).value());
  CHECK(fs->Exists(absolute).value());
}

TEST_CASE("only a relative path has an absolute form of its own", "[posix]") {
  const auto fs = MakePosixFileSystem();
  const std::string here = std::filesystem::current_path();
  CHECK(fs->Absolute("/a/../b") == "/a/../b");
  CHECK(fs->Absolute("") == "");
  CHECK(fs->Absolute("a/../b") == here + "/a/../b");
  CHECK(MakeMemoryFileSystem()->Absolute("a") == "a");
}

TEST_CASE("a file that several write is opened as it is", "[posix]") {
  const TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  const std::string path = JoinPath(directory.path(), "f");
  const std::string link = JoinPath(directory.path(), "link");
  const std::string bytes(10000, 'b');
  DCP_CHECK_OK(WriteFile(*fs, path, bytes, SyncMode::kNone));
  std::filesystem::create_symlink("f", link);
  const OpenOptions shared{.mode = OpenMode::kShared,
                           .direct_io = DirectIo::kTry};
  DCP_CHECK_OK(fs->Open(path, shared).status());
  // What tried direct I/O has left every byte.
  CHECK(conformance::MustReadFile(*fs, path) == bytes);
  CHECK(fs->Open(link, shared).status().code() ==
        absl::StatusCode::kInvalidArgument);
  const std::string fifo = JoinPath(directory.path(), "fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(fs->Open(fifo, shared).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a directory like another one has its mode", "[posix]") {
  namespace stdfs = std::filesystem;
  const TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  const std::string model = JoinPath(directory.path(), "model");
  const std::string like = JoinPath(directory.path(), "like");
  DCP_CHECK_OK(fs->MakeDirectories(model));
  const auto mode = stdfs::perms::owner_all | stdfs::perms::group_read |
                    stdfs::perms::set_gid;
  stdfs::permissions(model, mode);
  DCP_CHECK_OK(fs->MakeDirectoryLike(like, model));
  CHECK(stdfs::status(like).permissions() == mode);
  const std::string link = JoinPath(directory.path(), "link");
  stdfs::create_directory_symlink("model", link);
  CHECK(fs->MakeDirectoryLike(like + "2", link).code() ==
        absl::StatusCode::kUnimplemented);
  CHECK_FALSE(stdfs::exists(like + "2"));
}

TEST_CASE("a failed rename names both sides", "[posix]") {
  const TempDirectory directory;
  const std::string from = JoinPath(directory.path(), "from");
  const Status status = MakePosixFileSystem()->Rename(from, "/elsewhere");
  CHECK(status.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(Message(status)),
             Catch::Contains(from) && Catch::Contains("/elsewhere"));
  CHECK(GetErrorDetail(status)->path == from);
}

}  // namespace
}  // namespace dcp
