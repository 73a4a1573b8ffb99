// The part of the file system conformance suite that is about exchanging names,
// second names of files, and directories that go. All of that is optional.

#ifndef DCP_TESTS_CONFORMANCE_CHECK_DIRECTORIES_H_
#define DCP_TESTS_CONFORMANCE_CHECK_DIRECTORIES_H_

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "conformance/check_names.h"

namespace dcp::conformance {

inline bool LacksCall(const Status& status) {
  return status.code() == absl::StatusCode::kUnimplemented;
}

inline void CheckExchanges(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string a = JoinPath(under_test.directory, "a");
  const std::string b = JoinPath(under_test.directory, "b");
  DCP_CHECK_OK(WriteFile(fs, a, "of a", SyncMode::kNone));
  DCP_CHECK_OK(WriteFile(fs, b, "of b", SyncMode::kNone));
  const Status exchanged = fs.Exchange(a, b);
  if (LacksCall(exchanged)) {
    CHECK(MustReadFile(fs, a) == "of a");
    CHECK(MustReadFile(fs, b) == "of b");
    return;
  }
  DCP_CHECK_OK(exchanged);
  CHECK(MustReadFile(fs, a) == "of b");
  CHECK(MustReadFile(fs, b) == "of a");
  const Status missing = fs.Exchange(a, a + "none");
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(Message(missing)), Catch::Contains(a + "none"));

  // Directories, and who is in them stays there.
  const std::string full = JoinPath(under_test.directory, "full");
  const std::string empty = JoinPath(under_test.directory, "empty");
  DCP_CHECK_OK(fs.MakeDirectories(full));
  DCP_CHECK_OK(fs.MakeDirectories(empty));
  DCP_CHECK_OK(WriteFile(fs, JoinPath(full, "f"), "in it", SyncMode::kNone));
  auto reader = MustOpen(fs, JoinPath(full, "f"), {});
  DCP_CHECK_OK(fs.Exchange(full, empty));
  CHECK(fs.List(full).value().empty());
  CHECK(MustReadFile(fs, JoinPath(empty, "f")) == "in it");
  CHECK(ReadAt(*reader, 0, 5).value() == "in it");
  DCP_CHECK_OK(fs.SyncDirectory(under_test.directory));
}

inline void CheckLinks(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string first = JoinPath(under_test.directory, "first");
  const std::string second = JoinPath(under_test.directory, "second");
  DCP_CHECK_OK(WriteFile(fs, first, "bytes", SyncMode::kNone));
  const Status linked = fs.Link(first, second);
  if (LacksCall(linked)) {
    CHECK_FALSE(fs.Exists(second).value());
    return;
  }
  DCP_CHECK_OK(linked);
  CHECK(MustReadFile(fs, second) == "bytes");
  CHECK(fs.Link(first, second).code() == absl::StatusCode::kAlreadyExists);
  CHECK(fs.Link(first + "none", second + "2").code() ==
        absl::StatusCode::kNotFound);
  DCP_CHECK_OK(fs.Remove(first));
  CHECK_FALSE(fs.Exists(first).value());
  CHECK(MustReadFile(fs, second) == "bytes");
}

inline void CheckRemovedDirectories(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string directory = JoinPath(under_test.directory, "goes");
  const std::string file = JoinPath(directory, "f");
  DCP_CHECK_OK(fs.MakeDirectories(directory));
  DCP_CHECK_OK(WriteFile(fs, file, "x", SyncMode::kNone));
  const Status full = fs.RemoveDirectory(directory);
  CHECK_FALSE(full.ok());
  CHECK(MustReadFile(fs, file) == "x");
  if (LacksCall(full)) return;
  CHECK_FALSE(fs.RemoveDirectory(file).ok());
  DCP_CHECK_OK(fs.Remove(file));
  DCP_CHECK_OK(fs.RemoveDirectory(directory));
  CHECK_FALSE(fs.Exists(directory).value());
  CHECK(fs.RemoveDirectory(directory).code() == absl::StatusCode::kNotFound);
}

inline void CheckLikeDirectories(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string model = JoinPath(under_test.directory, "model");
  const std::string like = JoinPath(under_test.directory, "like");
  DCP_CHECK_OK(fs.MakeDirectories(model));
  DCP_CHECK_OK(WriteFile(fs, JoinPath(model, "f"), "x", SyncMode::kNone));
  const Status made = fs.MakeDirectoryLike(like, model);
  if (LacksCall(made)) {
    CHECK_FALSE(fs.Exists(like).value());
    return;
  }
  DCP_CHECK_OK(made);
  CHECK(fs.List(like).value().empty());
  CHECK(fs.MakeDirectoryLike(like, model).code() ==
        absl::StatusCode::kAlreadyExists);
  CHECK_FALSE(fs.MakeDirectoryLike(like + "2", model + "/f").ok());
  CHECK_FALSE(fs.MakeDirectoryLike(like + "2", model + "/none").ok());
  CHECK_FALSE(fs.Exists(like + "2").value());
}

inline void CheckDirectoryChanges(const FileSystemUnderTest& under_test) {
  SECTION("an exchange leaves no name out, or is not there") {
    CheckExchanges(under_test);
  }
  SECTION("a file has a second name, or there are none") {
    CheckLinks(under_test);
  }
  SECTION("an empty directory is removed, or there are none") {
    CheckRemovedDirectories(under_test);
  }
  SECTION("a directory is made like another one, or not at all") {
    CheckLikeDirectories(under_test);
  }
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_CHECK_DIRECTORIES_H_
