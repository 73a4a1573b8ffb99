// Saves of safetensors files of each rank's own.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/random_state.h"
#include "dcp/latest.h"
#include "dcp/verify.h"
#include "testing/no_exchange_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using Names = std::vector<std::string>;

Place RankPlace(std::shared_ptr<FileSystem> fs, std::string path = "/m") {
  Place place(std::move(fs), std::move(path));
  place.options.file_per_rank = true;
  return place;
}

State TwoTensors(uint64_t seed) {
  State state;
  state.tensors["v"] = conformance::RandomTensor(seed, DType::kFloat32, {3});
  state.tensors["w"] =
      conformance::RandomTensor(seed + 1, DType::kFloat32, {9, 5});
  return state;
}

void CheckRandomSaves(const Place& place, uint64_t seed, int rounds) {
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const State state = SaveRandomState(place, &random);
    conformance::CheckHolds(place.storage(), state);
    const auto report = Verify(place.directory, {}, {.file_system = place.fs});
    REQUIRE(report.ok());
    CHECK(report->is_ours);
    CHECK(report->damages.empty());
  }
}

TEST_CASE("what ranks write for themselves is the state, whatever the sharding",
          "[checkpoint][hugging_face]") {
  SECTION("in files") {
    const testing::TempDirectory directory;
    CheckRandomSaves(RankPlace(MakePosixFileSystem(), directory.path() + "/m"),
                     50, 8);
  }
  SECTION("in memory") {
    CheckRandomSaves(RankPlace(MakeMemoryFileSystem()), 51, 12);
  }
  SECTION("as floats of another type, by a mapping") {
    const Place place = [] {
      Place made = RankPlace(MakeMemoryFileSystem());
      made.options.file_numbers = {{"v", 2}, {"w", 1}};
      made.options.export_dtype = DType::kFloat64;
      return made;
    }();
    const State state = TwoTensors(1);
    RequireAllSucceed(place.Save(Sharded(state, 2)));
    CHECK(place.names() ==
          Names{"shard-00001-model-00001-of-00002.safetensors",
                "shard-00001-model-00002-of-00002.safetensors",
                "shard-00002-model-00001-of-00002.safetensors",
                "shard-00002-model-00002-of-00002.safetensors"});
    CHECK_THAT(place.Read("shard-00002-model-00001-of-00002.safetensors"),
               Contains(R"("dtype":"F64")"));
  }
}

TEST_CASE("names and headers of ranks' files are torch's",
          "[checkpoint][hugging_face]") {
  const Place place = RankPlace(MakeMemoryFileSystem());
  State state;
  state.tensors["w"] = conformance::RandomTensor(1, DType::kFloat32, {3, 2});
  const auto saved = place.Save(Sharded(state, 2));
  RequireAllSucceed(saved);
  CHECK(place.names() == Names{"shard-00001-model-00001-of-00001.safetensors",
                               "shard-00002-model-00001-of-00001.safetensors"});
  CHECK_THAT(
      place.Read("shard-00002-model-00001-of-00001.safetensors"),
      Contains(R"({"__metadata__":{"DCP_SHARDING_INFO":)"
               R"("{\"w\": {\"saved_offsets\": [2, 0]}}",)"
               R"("DCP_VERSION":"1.0","format":"pt"},)"
               R"("w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})"));
  const auto metadata = saved[0]->metadata();
  REQUIRE(metadata.ok());
  CHECK(metadata->FindTensor("w")->chunks.size() == 2);
  CHECK(metadata->storage_data.at({.fqn = "w", .offset = Dims{2, 0}})
            .relative_path == "shard-00002-model-00001-of-00001.safetensors");
}

TEST_CASE("tied tensors are in ranks' files under both names",
          "[checkpoint][hugging_face]") {
  const Place place = RankPlace(MakeMemoryFileSystem());
  State state = TwoTensors(3);
  state.tensors["x"] = state.tensors["w"];
  AllEntries entries(1);
  entries[0].AddWhole("v", state.tensors["v"]);
  entries[0].AddWhole("w", state.tensors["w"]);
  SaveEntry tied = entries[0].entries().back();
  tied.fqn = "x";
  entries[0].entries().push_back(tied);
  RequireAllSucceed(place.Save(entries));
  conformance::CheckHolds(place.storage(), state);
}

TEST_CASE("files of ranks and whole files replace each other",
          "[checkpoint][hugging_face]") {
  const Place ranks = RankPlace(MakeMemoryFileSystem());
  const Place whole(ranks.fs, "/m");
  RequireAllSucceed(ranks.Save(Sharded(TwoTensors(1), 3)));
  RequireAllSucceed(whole.Save(Sharded(TwoTensors(2), 2)));
  CHECK(whole.names() == Names{"model.safetensors"});
  conformance::CheckHolds(whole.storage(), TwoTensors(2));
  RequireAllSucceed(ranks.Save(Sharded(TwoTensors(3), 1)));
  CHECK(ranks.names() == Names{"shard-00001-model-00001-of-00001.safetensors"});
  conformance::CheckHolds(ranks.storage(), TwoTensors(3));
}

TEST_CASE("all ranks learn that files of theirs cannot replace a checkpoint",
          "[checkpoint][hugging_face]") {
  const Place place = RankPlace(
      std::make_shared<testing::NoExchangeFileSystem>(MakeMemoryFileSystem()));
  RequireAllSucceed(place.Save(Sharded(TwoTensors(1), 2)));
  const RankFailures failures =
      RequireSameFailures(place.Save(Sharded(TwoTensors(2), 2)));
  CHECK(failures.by_rank.at(0).code() == absl::StatusCode::kUnimplemented);
  conformance::CheckHolds(place.storage(), TwoTensors(1));
}

TEST_CASE("steps of ranks' files count once they are published",
          "[checkpoint][latest]") {
  const auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(
      RankPlace(fs, "/run/step-1").Save(Sharded(TwoTensors(1), 2)));
  RequireAllSucceed(
      RankPlace(fs, "/run/step-2").Save(Sharded(TwoTensors(2), 2)));
  const auto latest = [&] {
    const FindLatestOptions options{.check = StepCheck::kVerified};
    return FindLatest("/run", options, {.file_system = fs}).value().found->step;
  };
  CHECK(latest() == 2);
  const auto entries = fs->List("/run/step-2").value();
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.starts_with(".dcpcpp-")) continue;
    DCP_CHECK_OK(WriteFile(*fs, "/run/step-2/" + entry.name + ".tmp", "",
                           SyncMode::kNone));
  }
  CHECK(latest() == 1);
}

}  // namespace
}  // namespace dcp
