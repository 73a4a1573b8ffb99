#include "storage/metadata_file.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "storage/damage.h"

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

}  // namespace
}  // namespace dcp
