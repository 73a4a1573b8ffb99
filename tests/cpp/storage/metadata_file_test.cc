#include "storage/metadata_file.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "storage/damage.h"
#include "storage/limits.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

/// What a reader of `.metadata` is told where `names` are the files.
Status MissingBeside(const std::vector<std::string>& names) {
  const auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/ckpt").ok());
  for (const std::string& name : names) PutFile(*fs, "/ckpt/" + name, "x");
  return ReadMetadataFile(*fs, "/ckpt", ".metadata").status();
}

TEST_CASE("missing metadata is told with the ranks that saved for themselves",
          "[storage]") {
  const std::string none = "open /ckpt/.metadata: No such file or directory";
  CHECK(Message(MissingBeside({"__0_0.distcp", "__x.metadata"})) == none);
  CHECK(Message(MissingBeside({"__10.metadata", "__2.metadata"})) ==
        none +
            "; there is metadata of ranks 2, 10, saved with "
            "use_collectives=False: open it with rank=2");
  CHECK(Message(MissingBeside({"__7.metadata"})) ==
        none +
            "; there is metadata of rank 7, saved with "
            "use_collectives=False: open it with rank=7");
}

TEST_CASE("of many ranks the first are named", "[storage]") {
  std::vector<std::string> names;
  for (int rank = 0; rank < 300; ++rank) {
    names.push_back("__" + std::to_string(rank) + ".metadata");
  }
  const Status status = MissingBeside(names);
  CHECK_THAT(std::string(Message(status)),
             Catch::Contains("ranks 0, 1, 2, 3, 4, 5, 6, 7, ... (300 in all)"));
  CHECK(status.code() == absl::StatusCode::kNotFound);
  const auto detail = GetErrorDetail(status);
  REQUIRE(detail);
  CHECK(detail->error_number == ENOENT);
  CHECK(detail->path == "/ckpt/.metadata");
}

/// What a reader makes of a file that begins with a pickle and has a hole then,
/// `nbytes` in all.
Status ReadHollow(int64_t nbytes) {
  const testing::TempDirectory directory;
  const std::string path = JoinPath(directory.path(), ".metadata");
  const auto fs = MakePosixFileSystem();
  REQUIRE(WriteFile(*fs, path, "\x80\x04}.", SyncMode::kNone).ok());
  {
    const auto file = fs->Open(path, {.mode = OpenMode::kShared}).value();
    REQUIRE(file->Truncate(nbytes).ok());
  }
  return ReadMetadataBytes(*fs, path, {}).status();
}

TEST_CASE("metadata that are mostly a hole are given up at its beginning",
          "[storage]") {
  const Status status = ReadHollow(kMaxMetadataNbytes);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Catch::Contains("only zeros"));
  CHECK(GetErrorDetail(status)->byte_offset == 4096);
  const Status larger = ReadHollow(kMaxMetadataNbytes + 1);
  CHECK(larger.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(larger)),
             Catch::Contains("more than the 8589934592 B that are allowed"));
}

TEST_CASE("metadata of several pieces are read whole", "[storage]") {
  constexpr size_t kNbytes = (size_t{35} << 20) + 1;
  std::string content(kNbytes, '\0');
  for (size_t i = 0; i < kNbytes; i += 4095) content[i] = 'x';
  const auto fs = MakeMemoryFileSystem();
  PutFile(*fs, "/.metadata", content);
  CHECK(ReadMetadataBytes(*fs, "/.metadata", {}).value() == content);
  // A page of zeros in the last piece.
  const size_t page = (kNbytes - 5000) / 4096 * 4096;
  content.replace(page, 4096, 4096, '\0');
  PutFile(*fs, "/.metadata", content);
  const Status status = ReadMetadataBytes(*fs, "/.metadata", {}).status();
  REQUIRE(GetErrorDetail(status));
  CHECK(GetErrorDetail(status)->byte_offset == static_cast<int64_t>(page));
}

}  // namespace
}  // namespace dcp
