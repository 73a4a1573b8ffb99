// The part of the file system conformance suite that is about open files.

#ifndef DCP_TESTS_CONFORMANCE_CHECK_FILES_H_
#define DCP_TESTS_CONFORMANCE_CHECK_FILES_H_

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "conformance/bytes.h"
#include "dcp/file_system.h"

namespace dcp::conformance {

/// A file system and a directory in it that exists, is empty, and is the
/// test's own.
struct FileSystemUnderTest {
  std::shared_ptr<FileSystem> fs;
  std::string directory;
};

/// The file, or a failed test.
inline std::unique_ptr<File> MustOpen(FileSystem& fs, const std::string& path,
                                      const OpenOptions& options) {
  auto file = fs.Open(path, options);
  INFO("opening " << path);
  INFO(Message(file.status()));
  REQUIRE(file.ok());
  return *std::move(file);
}

inline std::unique_ptr<File> MustCreate(FileSystem& fs,
                                        const std::string& path) {
  return MustOpen(fs, path, {.mode = OpenMode::kCreateNew});
}

inline std::string MustReadFile(FileSystem& fs, const std::string& path) {
  constexpr int64_t kMaxNbytes = int64_t{1} << 30;
  auto content = ReadFile(fs, path, kMaxNbytes, {});
  INFO("reading " << path);
  INFO(Message(content.status()));
  REQUIRE(content.ok());
  return *std::move(content);
}

#define DCP_CHECK_OK(expr)                     \
  do {                                         \
    const ::dcp::Status dcp_checked_ = (expr); \
    INFO(::dcp::Message(dcp_checked_));        \
    CHECK(dcp_checked_.ok());                  \
  } while (false)

inline void CheckWritesAndReads(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "data");
  std::string head = RandomBytes(1, 10000);
  std::string tail = RandomBytes(2, 5000);
  auto file = MustCreate(fs, path);
  const std::vector<IoSlice> both = {
      SliceOf(head), {nullptr, 0}, SliceOf(tail)};
  DCP_CHECK_OK(file->WriteFully(0, both));
  DCP_CHECK_OK(WriteAt(*file, 15000, "end"));
  DCP_CHECK_OK(file->Sync());
  DCP_CHECK_OK(file->Close());
  const std::string expected = head + tail + "end";
  CHECK(MustReadFile(fs, path) == expected);

  file = MustOpen(fs, path, {});
  CHECK(file->path() == path);
  CHECK(file->Size().value() == 15003);
  CHECK(ReadAt(*file, 9999, 5).value() == expected.substr(9999, 5));
  std::string a(3, '?');
  std::string b(4, '?');
  const std::vector<IoSlice> parts = {SliceOf(a), SliceOf(b)};
  DCP_CHECK_OK(file->ReadFully(14996, parts));
  CHECK(a + b == expected.substr(14996));
}

inline void CheckManySlices(const FileSystemUnderTest& under_test) {
  const std::string path = JoinPath(under_test.directory, "slices");
  std::string bytes = RandomBytes(3, 7500);
  std::vector<IoSlice> slices;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    slices.push_back({reinterpret_cast<std::byte*>(bytes.data()) + i, 3});
  }
  auto file = MustCreate(*under_test.fs, path);
  DCP_CHECK_OK(file->WriteFully(0, slices));
  DCP_CHECK_OK(file->Close());
  const std::string expected = bytes;
  bytes.assign(bytes.size(), '?');
  file = MustOpen(*under_test.fs, path, {});
  DCP_CHECK_OK(file->ReadFully(0, slices));
  CHECK(bytes == expected);
}

inline void CheckEndOfFile(const FileSystemUnderTest& under_test) {
  const std::string path = JoinPath(under_test.directory, "short");
  DCP_CHECK_OK(WriteFile(*under_test.fs, path, "0123456789", SyncMode::kNone));
  auto file = MustOpen(*under_test.fs, path, {});
  CHECK(ReadAt(*file, 4, 6).value() == "456789");
  CHECK(ReadAt(*file, 10, 0).ok());
  const Status past = ReadAt(*file, 4, 7).status();
  CHECK(past.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(past)), Catch::Contains("file ends at 10 B"));
  CHECK_THAT(std::string(Message(past)), Catch::Contains(path));
  CHECK(ReadAt(*file, 1000, 1).status().code() == absl::StatusCode::kDataLoss);
  CHECK(ReadAt(*file, -1, 1).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

inline void CheckCachedReads(const FileSystemUnderTest& under_test) {
  const std::string path = JoinPath(under_test.directory, "cached");
  const std::string expected = RandomBytes(4, 20000);
  DCP_CHECK_OK(WriteFile(*under_test.fs, path, expected, SyncMode::kNone));
  auto file = MustOpen(*under_test.fs, path, {});
  std::string bytes(30000, '?');
  const std::vector<IoSlice> slices = {
      {reinterpret_cast<std::byte*>(bytes.data()), 7000},
      {reinterpret_cast<std::byte*>(bytes.data()) + 7000, 23000}};
  const auto nbytes = file->ReadCached(100, slices);
  REQUIRE(nbytes.ok());
  REQUIRE(*nbytes >= 0);
  REQUIRE(*nbytes <= 19900);
  const auto count = static_cast<size_t>(*nbytes);
  CHECK(bytes.substr(0, count) == expected.substr(100, count));
}

inline void CheckModesAndClosing(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "modes");
  auto file = MustCreate(fs, path);
  DCP_CHECK_OK(WriteAt(*file, 0, "abc"));
  CHECK_FALSE(ReadAt(*file, 0, 1).ok());
  DCP_CHECK_OK(file->Close());
  CHECK(WriteAt(*file, 3, "d").code() == absl::StatusCode::kFailedPrecondition);
  CHECK(file->Sync().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(file->Close().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_FALSE(file->Size().ok());

  file = MustOpen(fs, path, {});
  const Status refused = WriteAt(*file, 0, "x");
  CHECK_FALSE(refused.ok());
  CHECK_THAT(std::string(Message(refused)), Catch::Contains(path));
  CHECK_FALSE(file->Truncate(0).ok());
  DCP_CHECK_OK(file->Close());
  CHECK(MustReadFile(fs, path) == "abc");
}

inline void CheckPositionalWrites(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "positions");
  auto file = MustCreate(fs, path);
  DCP_CHECK_OK(WriteAt(*file, 8, "later"));
  DCP_CHECK_OK(WriteAt(*file, 2, "early"));
  DCP_CHECK_OK(WriteAt(*file, 3, "A"));
  DCP_CHECK_OK(file->Close());
  const std::string expected("\0\0eArly\0later", 13);
  CHECK(MustReadFile(fs, path) == expected);
}

inline void CheckSizes(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "sizes");
  auto file = MustCreate(fs, path);
  DCP_CHECK_OK(file->Allocate(8192));
  DCP_CHECK_OK(file->Allocate(0));
  DCP_CHECK_OK(WriteAt(*file, 0, std::string(8192, 'p')));
  CHECK(file->Size().value() == 8192);
  DCP_CHECK_OK(file->Truncate(5000));
  CHECK(file->Size().value() == 5000);
  DCP_CHECK_OK(file->Truncate(5003));
  CHECK_FALSE(file->Truncate(-1).ok());
  DCP_CHECK_OK(file->Close());
  CHECK(MustReadFile(fs, path) ==
        std::string(5000, 'p') + std::string(3, '\0'));
}

inline void CheckConcurrentWrites(const FileSystemUnderTest& under_test) {
  constexpr size_t kThreads = 4;
  constexpr size_t kBlock = 10007;
  constexpr size_t kBlocksEach = 20;
  const std::string path = JoinPath(under_test.directory, "threads");
  const std::string expected = RandomBytes(5, kThreads * kBlocksEach * kBlock);
  auto file = MustCreate(*under_test.fs, path);
  std::vector<Status> statuses(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < kBlocksEach; ++i) {
        const size_t at = (i * kThreads + t) * kBlock;
        statuses[t].Update(WriteAt(*file, static_cast<int64_t>(at),
                                   expected.substr(at, kBlock)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) DCP_CHECK_OK(status);
  DCP_CHECK_OK(file->Close());
  CHECK((MustReadFile(*under_test.fs, path) == expected));
}

inline void CheckSharedFiles(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "shared");
  auto maker = MustCreate(fs, path);
  DCP_CHECK_OK(maker->Allocate(0));
  DCP_CHECK_OK(WriteAt(*maker, 0, "0123456789"));
  const OpenOptions shared{.mode = OpenMode::kShared,
                           .direct_io = DirectIo::kTry};
  auto opened = fs.Open(path, shared);
  if (opened.status().code() == absl::StatusCode::kUnimplemented) return;
  REQUIRE(opened.ok());
  std::unique_ptr<File> other = *std::move(opened);
  CHECK(other->Size().value() == 10);
  DCP_CHECK_OK(WriteAt(*other, 8, "tail"));
  DCP_CHECK_OK(WriteAt(*maker, 1, "A"));
  CHECK_FALSE(ReadAt(*other, 0, 1).ok());
  DCP_CHECK_OK(other->Sync());
  DCP_CHECK_OK(other->Close());
  DCP_CHECK_OK(maker->Close());
  CHECK(MustReadFile(fs, path) == "0A234567tail");
  CHECK(
      fs.Open(JoinPath(under_test.directory, "none"), shared).status().code() ==
      absl::StatusCode::kNotFound);
  CHECK(fs.Open(under_test.directory, shared).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

inline void CheckSharedFilesAreOptional(const FileSystemUnderTest& under_test) {
  const std::string path = JoinPath(under_test.directory, "shared");
  DCP_CHECK_OK(WriteFile(*under_test.fs, path, "x", SyncMode::kNone));
  CHECK(
      under_test.fs->Open(path, {.mode = OpenMode::kShared}).status().code() ==
      absl::StatusCode::kUnimplemented);
  CHECK(MustReadFile(*under_test.fs, path) == "x");
}

inline void CheckDirectIoRequests(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "direct");
  const std::string expected = RandomBytes(6, 70000);
  auto file = MustOpen(
      fs, path, {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kTry});
  DCP_CHECK_OK(WriteAt(*file, 0, expected));
  DCP_CHECK_OK(file->Close());
  file = MustOpen(fs, path, {.direct_io = DirectIo::kTry});
  CHECK((ReadAt(*file, 0, 70000).value() == expected));
  CHECK(ReadAt(*file, 69999, 2).status().code() == absl::StatusCode::kDataLoss);
  const bool has_direct_io = file->direct_io().has_value();
  const auto required = fs.Open(path, {.direct_io = DirectIo::kRequire});
  CHECK(required.ok() == has_direct_io);
  if (!has_direct_io) {
    CHECK(required.status().code() == absl::StatusCode::kUnimplemented);
  }
}

inline void CheckFiles(const FileSystemUnderTest& under_test) {
  SECTION("what was written is read") { CheckWritesAndReads(under_test); }
  SECTION("a transfer may have thousands of slices") {
    CheckManySlices(under_test);
  }
  SECTION("reading past the end is data loss") { CheckEndOfFile(under_test); }
  SECTION("a cached read gives a prefix of what is there") {
    CheckCachedReads(under_test);
  }
  SECTION("a file does what its mode says until it is closed") {
    CheckModesAndClosing(under_test);
  }
  SECTION("direct I/O is used or refused, and bytes are the same") {
    CheckDirectIoRequests(under_test);
  }
  if (!under_test.fs->traits().positional_writes) {
    SECTION("without positional writes no file is shared") {
      CheckSharedFilesAreOptional(under_test);
    }
    return;
  }
  SECTION("a file that is there is written by several, or not shared") {
    CheckSharedFiles(under_test);
  }
  SECTION("writes go anywhere, gaps are zeros") {
    CheckPositionalWrites(under_test);
  }
  SECTION("sizes are reserved, cut and extended") { CheckSizes(under_test); }
  SECTION("threads write disjoint ranges") {
    CheckConcurrentWrites(under_test);
  }
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_CHECK_FILES_H_
