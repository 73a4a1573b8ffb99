// Saves whose ranks have objects for themselves: tensors are planned in closed
// form, and the objects gathered beside them.

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/planned_saves.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::StorageUnderTest;

StorageUnderTest NativeOn(std::shared_ptr<FileSystem> fs) {
  return NativeStorage(NativePlace{.fs = std::move(fs)});
}

std::string OwnKey(size_t rank) {
  return "own of rank " + std::to_string(rank);
}

/// An object whose length is another one for each `number`.
std::string ObjectOfLength(size_t number) {
  return *EncodeObject({std::string(number, 'x')});
}

/// `stages` of `each` ranks, more in all than may have a state of their own.
/// Each rank has an object for itself, between tensors.
SavedJob JobOf(uint32_t stages, uint32_t each) {
  Job job = TwoStages(each);
  job.specs.resize(stages);
  job.spec_of_rank.resize(size_t{stages} * each);
  SavedJob saved = Filled(job);
  for (size_t rank = 0; rank < saved.entries.size(); ++rank) {
    const std::string object = ObjectOfLength(rank);
    saved.state.objects[OwnKey(rank)] = object;
    std::vector<SaveEntry>& entries = saved.entries[rank].entries();
    entries.insert(entries.begin() + 3,
                   {.fqn = OwnKey(rank),
                    .value = SerializedObject{object},
                    .path = {"own", static_cast<int64_t>(rank)}});
  }
  return saved;
}

TEST_CASE("objects of single ranks leave the plan of tensors in closed form",
          "[agreement]") {
  for (const uint32_t stages : {1U, 2U}) {
    INFO(stages << " stages");
    SavedJob saved = JobOf(stages, 20);
    SavingRanks ranks(saved.entries.size());
    const auto fs = MakeMemoryFileSystem();
    RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
    CHECK(ranks.calls() == (stages == 1 ? "GSGS" : "GSGSGBGS"));
    // A rank that is not asked for its state sends digests and its objects.
    CHECK(ranks.transports[3]->traffic().nbytes < 400);
    CheckHolds(NativeOn(fs), saved.state);
    const Metadata metadata = ReadMetadata(*fs);
    CHECK(metadata.planner_data->at(OwnKey(7)) ==
          ObjectPath{"own", int64_t{7}});
    CHECK(metadata.planner_data->size() == metadata.entries().size());
    for (int again = 0; again < 2; ++again) {
      RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
      CHECK(ranks.calls() == "GS");
      CHECK(ranks.nbytes() < 100);
      CheckHolds(NativeOn(fs), saved.state);
    }
  }
}

TEST_CASE("an object that grew on one rank is planned anew", "[agreement]") {
  SavedJob saved = JobOf(1, 20);
  SavingRanks ranks(20);
  const auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  const std::string larger = ObjectOfLength(1000);
  saved.entries[5].entries()[3].value = SerializedObject{larger};
  saved.state.objects[OwnKey(5)] = larger;
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");
  CheckHolds(NativeOn(fs), saved.state);
  ranks.caches[2] = std::make_shared<PlanCache>();  // it has to be told again
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("an object of one key and many lengths has one writer",
          "[agreement]") {
  for (const bool takes_lowest : {false, true}) {
    SavedJob saved = JobOf(1, 20);
    for (size_t rank = 0; rank < 20; ++rank) {
      saved.state.objects.erase(OwnKey(rank));
      saved.entries[rank].entries()[3].fqn = "same";
    }
    SavingRanks ranks(20);
    const auto fs = MakeMemoryFileSystem();
    RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs),
                                 {{.dedup_to_lowest_rank = takes_lowest}}));
    CHECK(ranks.calls() == "GSGS");
    const Metadata metadata = ReadMetadata(*fs);
    REQUIRE(metadata.Position("same") < metadata.entries().size());
    const auto place = metadata.storage_data.find({.fqn = "same"});
    REQUIRE(place != metadata.storage_data.end());
    if (takes_lowest) {
      CHECK(place->second.relative_path == "__0_0.distcp");
      saved.state.objects["same"] = ObjectOfLength(0);
      CheckHolds(NativeOn(fs), saved.state);
    }
  }
}

TEST_CASE("what is an object here and a tensor there is told as ever",
          "[agreement]") {
  SavedJob saved = JobOf(1, 20);
  std::vector<SaveEntry>& entries = saved.entries[9].entries();
  std::erase_if(entries,
                [](const auto& entry) { return entry.fqn == "whole"; });
  entries[3].fqn = "whole";
  SavingRanks ranks(20);
  const RankFailures failures = RequireSameFailures(
      ranks.Save(saved.entries, NativeOn(MakeMemoryFileSystem())));
  CHECK(ranks.calls() == "GSGSGBGS");
  CHECK_THAT(std::string(Message(failures.by_rank.at(0))), Contains("whole"));
}

TEST_CASE("ranks that differ in tensors send plans in spite of their objects",
          "[agreement]") {
  SavedJob saved = JobOf(1, 20);
  for (size_t rank = 0; rank < 20; ++rank) {
    const auto& tensor =
        saved.state.tensors
            .emplace("tensor of rank " + std::to_string(rank),
                     conformance::RandomTensor(rank, DType::kFloat32, {3}))
            .first->second;
    saved.entries[rank].AddWhole("tensor of rank " + std::to_string(rank),
                                 tensor);
  }
  SavingRanks ranks(20);
  const auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGSGS");
  CheckHolds(NativeOn(fs), saved.state);
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");  // the coordinator remembers
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("a rank whose share of objects is garbled writes nothing",
          "[agreement]") {
  SavedJob saved = JobOf(1, 20);
  SavingRanks ranks(20);
  // The share comes after the byte of the seal, the two versions, the kind, two
  // digests and its length; its number of items after its own two versions.
  ranks.transports[4]->set_reply_change([](int call, std::string* message) {
    if (call == 4) (*message)[4 + 32 + 1 + 2] ^= 4;
  });
  const RankFailures failures = RequireSameFailures(
      ranks.Save(saved.entries, NativeOn(MakeMemoryFileSystem())));
  REQUIRE(failures.by_rank.size() == 1);
  const Status& status = failures.by_rank.at(4);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("share of a save plan"));
}

}  // namespace
}  // namespace dcp
