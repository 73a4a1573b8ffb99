#include <catch2/catch.hpp>
#include <cerrno>

#include "conformance/file_system_conformance.h"
#include "dcp/file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using conformance::FileSystemUnderTest;

FileSystemUnderTest InDirectory(std::shared_ptr<FileSystem> fs) {
  REQUIRE(fs->MakeDirectories("/parent/dir").ok());
  return {std::move(fs), "/parent/dir"};
}

TEST_CASE("the memory file system conforms", "[memory][conformance]") {
  conformance::CheckFileSystem(
      [] { return InDirectory(MakeMemoryFileSystem()); });
}

TEST_CASE("fault injection without faults conforms", "[memory][conformance]") {
  conformance::CheckFileSystem([] {
    return InDirectory(std::make_shared<testing::FaultInjectionFileSystem>(
        MakeMemoryFileSystem()));
  });
}

int ErrnoOf(const Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail ? detail->error_number : 0;
}

TEST_CASE("renaming directories gives the errors of rename(2)", "[memory]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/a/b").ok());
  REQUIRE(fs->MakeDirectories("/empty").ok());
  REQUIRE(WriteFile(*fs, "/f", "f", SyncMode::kNone).ok());
  CHECK(ErrnoOf(fs->Rename("/a", "/a/b/c")) == EINVAL);
  CHECK(ErrnoOf(fs->Rename("/f", "/a")) == EISDIR);
  CHECK(ErrnoOf(fs->Rename("/a", "/f")) == ENOTDIR);
  CHECK(ErrnoOf(fs->Rename("/empty", "/a")) == ENOTEMPTY);
  CHECK(ErrnoOf(fs->Rename("/f", "/f/g")) == ENOTDIR);
  CHECK(fs->Rename("/a", "/empty").ok());
  CHECK(fs->Exists("/empty/b").value());
  CHECK_FALSE(fs->Exists("/a").value());
}

TEST_CASE("sizes that no memory has are refused", "[memory]") {
  auto fs = MakeMemoryFileSystem();
  auto file = fs->Open("/f", {.mode = OpenMode::kCreateNew}).value();
  CHECK(ErrnoOf(file->Truncate(int64_t{1} << 62)) == EFBIG);
  CHECK(ErrnoOf(conformance::WriteAt(*file, int64_t{1} << 62, "x")) == EFBIG);
  CHECK(file->Size().value() == 0);
}

}  // namespace
}  // namespace dcp
