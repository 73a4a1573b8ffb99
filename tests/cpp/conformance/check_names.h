// The part of the file system conformance suite that is about names.

#ifndef DCP_TESTS_CONFORMANCE_CHECK_NAMES_H_
#define DCP_TESTS_CONFORMANCE_CHECK_NAMES_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "conformance/check_files.h"

namespace dcp::conformance {

/// Names and kinds, sorted by name.
inline std::vector<std::pair<std::string, FileKind>> SortedList(
    FileSystem& fs, const std::string& directory) {
  auto entries = fs.List(directory);
  INFO(Message(entries.status()));
  REQUIRE(entries.ok());
  std::vector<std::pair<std::string, FileKind>> names;
  for (const DirectoryEntry& entry : *entries) {
    names.emplace_back(entry.name, entry.kind);
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline void CheckOpenErrors(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "file");
  const std::string missing = JoinPath(under_test.directory, "missing");
  const OpenOptions create{.mode = OpenMode::kCreateNew};
  DCP_CHECK_OK(WriteFile(fs, path, "kept", SyncMode::kSync));

  const Status again = fs.Open(path, create).status();
  CHECK(again.code() == absl::StatusCode::kAlreadyExists);
  CHECK_THAT(std::string(Message(again)), Catch::Contains(path));
  CHECK(WriteFile(fs, path, "x", SyncMode::kNone).code() ==
        absl::StatusCode::kAlreadyExists);
  CHECK(MustReadFile(fs, path) == "kept");

  const Status not_there = fs.Open(missing, {}).status();
  CHECK(not_there.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(Message(not_there)), Catch::Contains(missing));
  CHECK(fs.Open(JoinPath(missing, "child"), {}).status().code() ==
        absl::StatusCode::kNotFound);
  CHECK(fs.Open(under_test.directory, {}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  // Where names can be replaced atomically, files are never replaced in place.
  if (fs.traits().atomic_rename) {
    CHECK(fs.Open(path, {.mode = OpenMode::kReplace}).status().code() ==
          absl::StatusCode::kUnimplemented);
    CHECK(MustReadFile(fs, path) == "kept");
  }
  CHECK(ReadFile(fs, path, 3, {}).status().code() ==
        absl::StatusCode::kResourceExhausted);
  CHECK(ReadFile(fs, path, 4, {}).value() == "kept");
}

inline void CheckDirectories(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string deep = JoinPath(under_test.directory, "a/b/c");
  DCP_CHECK_OK(fs.MakeDirectories(deep));
  DCP_CHECK_OK(fs.MakeDirectories(deep));
  DCP_CHECK_OK(WriteFile(fs, JoinPath(deep, "f"), "", SyncMode::kNone));
  CHECK(fs.Exists(JoinPath(deep, "f")).value());
  CHECK(fs.Exists(deep).value());
  CHECK_FALSE(fs.Exists(JoinPath(deep, "g")).value());
  CHECK_FALSE(fs.Exists(JoinPath(deep, "f/g")).value());
  CHECK_FALSE(fs.MakeDirectories(JoinPath(deep, "f")).ok());
  CHECK_FALSE(fs.MakeDirectories(JoinPath(deep, "f/g")).ok());
  CHECK(MustReadFile(fs, JoinPath(deep, "f")).empty());
}

inline void CheckRacingDirectories(const FileSystemUnderTest& under_test) {
  constexpr size_t kThreads = 4;
  std::vector<Status> statuses(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string name = "r" + std::to_string(i) + "/x/y/z";
        statuses[t].Update(under_test.fs->MakeDirectories(
            JoinPath(under_test.directory, name)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) DCP_CHECK_OK(status);
}

inline void CheckLists(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string& directory = under_test.directory;
  CHECK(SortedList(fs, directory).empty());
  DCP_CHECK_OK(
      WriteFile(fs, JoinPath(directory, ".metadata"), "m", SyncMode::kNone));
  DCP_CHECK_OK(
      WriteFile(fs, JoinPath(directory, "größe"), "u", SyncMode::kNone));
  DCP_CHECK_OK(fs.MakeDirectories(JoinPath(directory, "sub/below")));
  using Names = std::vector<std::pair<std::string, FileKind>>;
  CHECK(SortedList(fs, directory) == Names{{".metadata", FileKind::kFile},
                                           {"größe", FileKind::kFile},
                                           {"sub", FileKind::kDirectory}});
  CHECK(fs.List(JoinPath(directory, "none")).status().code() ==
        absl::StatusCode::kNotFound);
}

inline void CheckRemoves(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "gone");
  const std::string sub = JoinPath(under_test.directory, "sub");
  DCP_CHECK_OK(WriteFile(fs, path, "x", SyncMode::kNone));
  DCP_CHECK_OK(fs.MakeDirectories(sub));
  DCP_CHECK_OK(fs.Remove(path));
  CHECK_FALSE(fs.Exists(path).value());
  CHECK(fs.Remove(path).code() == absl::StatusCode::kNotFound);
  CHECK_FALSE(fs.Remove(sub).ok());
  CHECK(fs.Exists(sub).value());
  DCP_CHECK_OK(WriteFile(fs, path, "new", SyncMode::kNone));
  CHECK(MustReadFile(fs, path) == "new");
}

inline void CheckRenames(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string from = JoinPath(under_test.directory, "from");
  const std::string to = JoinPath(under_test.directory, "to");
  CHECK(fs.Rename(from, to).code() == absl::StatusCode::kNotFound);
  DCP_CHECK_OK(WriteFile(fs, from, "first", SyncMode::kSync));
  DCP_CHECK_OK(fs.Rename(from, to));
  CHECK_FALSE(fs.Exists(from).value());
  CHECK(MustReadFile(fs, to) == "first");

  DCP_CHECK_OK(WriteFile(fs, from, "second", SyncMode::kSync));
  auto reader = MustOpen(fs, to, {});
  DCP_CHECK_OK(fs.Rename(from, to));
  CHECK_FALSE(fs.Exists(from).value());
  CHECK(MustReadFile(fs, to) == "second");
  if (fs.traits().atomic_rename) {
    // Who has the old file open goes on reading the old file.
    CHECK(ReadAt(*reader, 0, 5).value() == "first");
  }
  DCP_CHECK_OK(fs.Rename(to, to));
  CHECK(MustReadFile(fs, to) == "second");
}

inline void CheckDirectorySync(const FileSystemUnderTest& under_test) {
  DCP_CHECK_OK(under_test.fs->SyncDirectory(under_test.directory));
  if (!under_test.fs->traits().directory_sync) return;
  CHECK(under_test.fs->SyncDirectory(JoinPath(under_test.directory, "none"))
            .code() == absl::StatusCode::kNotFound);
}

inline void CheckBeneath(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string inner = JoinPath(under_test.directory, "inner");
  DCP_CHECK_OK(fs.MakeDirectories(JoinPath(inner, "sub")));
  DCP_CHECK_OK(WriteFile(fs, JoinPath(inner, "sub/in"), "i", SyncMode::kNone));
  DCP_CHECK_OK(WriteFile(fs, JoinPath(under_test.directory, "out"), "o",
                         SyncMode::kNone));
  const OpenOptions beneath{.beneath = inner};
  const auto code = [&](const std::string& path) {
    return fs.Open(path, beneath).status().code();
  };
  CHECK(code(JoinPath(inner, "sub/in")) == absl::StatusCode::kOk);
  CHECK(code(JoinPath(inner, "sub/../sub/in")) == absl::StatusCode::kOk);
  CHECK(code(JoinPath(inner, "sub/none")) == absl::StatusCode::kNotFound);
  CHECK(code(JoinPath(inner, "sub")) == absl::StatusCode::kInvalidArgument);
  CHECK(code(JoinPath(inner, "../out")) == absl::StatusCode::kInvalidArgument);
  CHECK(code(JoinPath(inner, "sub/../../out")) ==
        absl::StatusCode::kInvalidArgument);
  CHECK(code(JoinPath(under_test.directory, "out")) ==
        absl::StatusCode::kInvalidArgument);
  CHECK(code(inner) == absl::StatusCode::kInvalidArgument);
}

inline void CheckSpace(const FileSystemUnderTest& under_test) {
  auto space = under_test.fs->Space(under_test.directory);
  REQUIRE(space.ok());
  if (!space->has_value()) return;
  CHECK((*space)->free_nbytes >= 0);
  CHECK_FALSE((*space)->pool.empty());
  const std::string sub = JoinPath(under_test.directory, "sub");
  DCP_CHECK_OK(under_test.fs->MakeDirectories(sub));
  auto same = under_test.fs->Space(sub);
  REQUIRE(same.ok());
  REQUIRE(same->has_value());
  CHECK((*same)->pool == (*space)->pool);
}

inline void CheckNames(const FileSystemUnderTest& under_test) {
  SECTION("opening says what is wrong") { CheckOpenErrors(under_test); }
  SECTION("directories are made with their parents") {
    CheckDirectories(under_test);
  }
  SECTION("several threads may make the same directories") {
    CheckRacingDirectories(under_test);
  }
  SECTION("a list has every entry and its kind") { CheckLists(under_test); }
  SECTION("files are removed, directories are not") {
    CheckRemoves(under_test);
  }
  SECTION("a rename replaces its target") { CheckRenames(under_test); }
  SECTION("directories are synced") { CheckDirectorySync(under_test); }
  SECTION("nothing outside `beneath` is opened") { CheckBeneath(under_test); }
  SECTION("space is unknown or shared with what is below") {
    CheckSpace(under_test);
  }
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_CHECK_NAMES_H_
