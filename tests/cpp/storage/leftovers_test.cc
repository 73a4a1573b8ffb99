#include "storage/leftovers.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::SmallState;
using Names = std::vector<std::string>;

TEST_CASE("what no metadata names, and only that, is left over", "[storage]") {
  const auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 2),
                                NativeStorage(NativePlace{.fs = fs})));
  const Names kept = {"/ckpt/README.md",        "/ckpt/model.safetensors",
                      "/ckpt/__0_1.distcp.bak", "/ckpt/.dcpcpp-XYZ",
                      "/ckpt/.metadata.tmp",    "/ckpt/notes.dcpcpp-1",
                      "/ckpt/__01_0.distcp",    "/ckpt/.dcpcpp-12.tmp2",
                      "/ckpt/.dcpcpp.lock",     "/ckpt/.dcpcpp-12.indexes"};
  for (const std::string& path : kept) PutFile(*fs, path, "the user's");
  REQUIRE(fs->MakeDirectories("/ckpt/__7_0.distcp").ok());
  const Names left = {".dcpcpp-00ff.lease", ".dcpcpp-12.index",
                      ".dcpcpp-12.tmp",     ".dcpcpp-ab",
                      "__0_1.distcp",       "__12_3.distcp"};
  for (const std::string& name : left) PutFile(*fs, "/ckpt/" + name, "x");

  const auto survey = SurveyDirectory(*fs, "/ckpt");
  REQUIRE(survey.ok());
  CHECK(survey->has_checkpoint);
  CHECK(survey->doubt.ok());
  CHECK(FindLeftovers(*survey) == left);
  CHECK(NextFileIndex(survey->names, 0) == 2);
  CHECK(NextFileIndex(survey->names, 12) == 4);
  CHECK(NextFileIndex(survey->names, 5) == 0);
  CHECK(OtherFilesOfRank(survey->names, 0, {"__0_0.distcp"}) ==
        Names{"__0_1.distcp"});
}

/// A checkpoint in /ckpt whose metadata calls its one data file `path`.
std::shared_ptr<FileSystem> CheckpointThatNames(const std::string& path) {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/ckpt").ok());
  Metadata metadata;
  const MetadataIndex index{.fqn = "w"};
  metadata.storage_data[index] = {.relative_path = path, .length = 1};
  const auto bytes = SerializeMetadata(metadata);
  REQUIRE(bytes.ok());
  PutFile(*fs, "/ckpt/.metadata", *bytes);
  PutFile(*fs, "/ckpt/__0_0.distcp", "x");
  return fs;
}

TEST_CASE("a published file keeps its name however it is written",
          "[storage]") {
  const std::string path =
      GENERATE("__0_0.distcp", "./__0_0.distcp", ".//__0_0.distcp");
  const auto survey = SurveyDirectory(*CheckpointThatNames(path), "/ckpt");
  REQUIRE(survey.ok());
  CHECK(survey->doubt.ok());
  CHECK(FindLeftovers(*survey).empty());
}

TEST_CASE("a path that may lead to any file leaves doubt", "[storage]") {
  const std::string path = GENERATE("../ckpt/__0_0.distcp", "a/__0_0.distcp",
                                    "/ckpt/__0_0.distcp", "..", "");
  const auto survey = SurveyDirectory(*CheckpointThatNames(path), "/ckpt");
  REQUIRE(survey.ok());
  CHECK(survey->doubt.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(survey->doubt)),
             Catch::Contains("/ckpt/.metadata"));
}

TEST_CASE("metadata that cannot be read leaves doubt", "[storage]") {
  const auto fs = MakeMemoryFileSystem();
  const std::string name = GENERATE(".metadata", "__3.metadata");
  REQUIRE(fs->MakeDirectories("/ckpt").ok());
  PutFile(*fs, "/ckpt/" + name, "not a pickle");
  const auto survey = SurveyDirectory(*fs, "/ckpt");
  REQUIRE(survey.ok());
  CHECK(survey->has_checkpoint);
  CHECK(survey->doubt.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(survey->doubt)), Catch::Contains(name));
}

TEST_CASE("the files of single ranks' checkpoints are published", "[storage]") {
  const auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(SaveOnRanks(Replicated(SmallState(1), 2),
                                NativeStorage(NativePlace{.fs = fs}),
                                {.use_collectives = false}));
  const auto survey = SurveyDirectory(*fs, "/ckpt");
  REQUIRE(survey.ok());
  CHECK(survey->published.empty());
  CHECK(survey->published_by_ranks.size() == 4);
  CHECK(FindLeftovers(*survey).empty());
}

}  // namespace
}  // namespace dcp
