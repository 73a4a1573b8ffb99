#include "memory_file_system.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "conformance/file_system_conformance.h"

namespace examples {
namespace {

TEST_CASE("the example's memory file system conforms", "[memory]") {
  dcp::conformance::CheckFileSystem([] {
    auto fs = MakeMemoryFileSystem();
    REQUIRE(fs->MakeDirectories("/some/where").ok());
    return dcp::conformance::FileSystemUnderTest{std::move(fs), "/some/where"};
  });
}

TEST_CASE("directories stay where they are", "[memory]") {
  const auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/a/b").ok());
  REQUIRE(dcp::WriteFile(*fs, "/f", "f", dcp::SyncMode::kNone).ok());
  CHECK_FALSE(fs->Rename("/a", "/c").ok());
  CHECK_FALSE(fs->Rename("/f", "/a").ok());
  CHECK_FALSE(fs->Rename("/f", "/none/f").ok());
  CHECK(fs->Exists("/f").value());
}

TEST_CASE("a list shows what lies in a directory and nothing deeper",
          "[memory]") {
  const auto fs = MakeMemoryFileSystem();
  for (const char* path : {"/a/b/c", "/a-", "/a0", "/ab"}) {
    REQUIRE(fs->MakeDirectories(path).ok());
  }
  CHECK(fs->List("/a").value().size() == 1);
  CHECK(fs->List("/").value().size() == 4);
  CHECK(fs->List("/ab").value().empty());
}

int ErrnoOf(const dcp::Status& status) {
  const auto detail = dcp::GetErrorDetail(status);
  return detail ? detail->error_number : 0;
}

TEST_CASE("a file that no memory holds is refused", "[memory]") {
  const auto fs = MakeMemoryFileSystem();
  const auto file = fs->Open("/f", {.mode = dcp::OpenMode::kCreateNew}).value();
  CHECK(ErrnoOf(file->Truncate(int64_t{1} << 62)) == EFBIG);
  CHECK(ErrnoOf(dcp::conformance::WriteAt(*file, int64_t{1} << 62, "x")) ==
        EFBIG);
  CHECK(file->Size().value() == 0);
}

}  // namespace
}  // namespace examples
