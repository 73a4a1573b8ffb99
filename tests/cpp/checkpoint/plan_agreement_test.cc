// How ranks agree who writes what, in saves whose tensors say how they lie over
// the ranks: what is saved, and what it took to plan it.

#include <catch2/catch.hpp>
#include <map>
#include <set>
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

using Chunks = std::map<std::string, std::set<std::pair<Dims, Dims>>>;

Chunks ChunksOf(const Metadata& metadata) {
  Chunks chunks;
  for (const auto& [fqn, entry] : metadata.entries()) {
    chunks[fqn];
    const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
    if (tensor == nullptr) continue;
    for (const Box& chunk : tensor->chunks) {
      chunks[fqn].emplace(chunk.offsets, chunk.sizes);
    }
  }
  return chunks;
}

TEST_CASE("what ranks derive is what a gathered plan has, and loads as it was",
          "[agreement]") {
  Random random(1);
  std::map<std::string, int> seen;
  for (int trial = 0; trial < 60; ++trial) {
    const Job job = JobMaker(&random).Make();
    if (!HasWholeRuns(job) || job.spec_of_rank.size() < 2) continue;
    SavedJob saved = Filled(job);
    SavingRanks ranks(saved.entries.size());
    auto fs = MakeMemoryFileSystem();
    SaveOptions options{.split_nbytes = trial % 2 == 0 ? 0 : 100};
    options.dedup_to_lowest_rank = trial % 5 == 0;
    RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs), {options}));
    CheckHolds(NativeOn(fs), saved.state);
    ++seen[ranks.calls()];
    if (trial % 2 != 0) continue;
    const auto gathered =
        CreateGlobalSavePlan(LocalPlansOf(job), {.split_nbytes = 0});
    REQUIRE(gathered.ok());
    CHECK(ChunksOf(ReadMetadata(*fs)) == ChunksOf(gathered->metadata));
  }
  CHECK(seen["GS"] > 5);      // one state
  CHECK(seen["GSGBGS"] > 5);  // several
}

TEST_CASE("a state that has not changed is planned by one exchange of digests",
          "[agreement]") {
  for (const uint32_t stages : {1U, 2U}) {
    Job job = TwoStages(4);
    if (stages == 1) {
      job.specs.resize(1);
      job.spec_of_rank.resize(4);
    }
    SavedJob saved = Filled(job);
    SavingRanks ranks(saved.entries.size());
    auto fs = MakeMemoryFileSystem();
    RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
    CHECK(ranks.calls() == (stages == 1 ? "GS" : "GSGBGS"));
    if (stages == 2) CHECK(ranks.nbytes() > 500);  // a state
    for (int again = 0; again < 2; ++again) {
      RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
      CHECK(ranks.calls() == "GS");
      CHECK(ranks.nbytes() < 100);  // two digests, and notes
    }
    CheckHolds(NativeOn(fs), saved.state);
  }
}

TEST_CASE(
    "a rank that has forgotten the plan, or has none to remember it, is "
    "told again",
    "[agreement]") {
  SavedJob saved = Filled(TwoStages(2));
  SavingRanks ranks(4);
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  ranks.caches[3] = std::make_shared<PlanCache>();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGBGS");
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GS");
  ranks.caches[0] = nullptr;
  for (int again = 0; again < 2; ++again) {
    RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
    CHECK(ranks.calls() == "GSGBGS");
  }
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("a rank whose entries do not follow from layouts has all send plans",
          "[agreement]") {
  SavedJob saved = Filled(TwoStages(2));
  SavingRanks ranks(4);
  auto fs = MakeMemoryFileSystem();
  const auto forget_layouts = [&](size_t rank) {
    for (SaveEntry& entry : saved.entries[rank].entries()) {
      auto* shard = std::get_if<TensorShard>(&entry.value);
      if (shard != nullptr) shard->layout = nullptr;
    }
  };
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  forget_layouts(2);
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");
  CheckHolds(NativeOn(fs), saved.state);
  for (const size_t rank : {0, 1, 3}) forget_layouts(rank);
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GS");
  CHECK(ranks.nbytes() > 500);
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("states that have no plan of closed form together are gathered",
          "[agreement]") {
  Job job{.specs = {{.meshes = {MeshOf({2})}}}, .spec_of_rank = {0, 1}};
  AddLaidOut(&job.specs[0], "both", {{4}, 0, {Placement::Shard(0)}});
  job.specs.push_back(job.specs[0]);
  // Its mesh has rank 1, which has not got it.
  AddLaidOut(&job.specs[0], "one", {{4}, 0, {Placement::Replicate()}});
  SavedJob saved = Filled(job);
  SavingRanks ranks(2);
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGBGS");
  CheckHolds(NativeOn(fs), saved.state);
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");  // the coordinator remembers
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("where nearly every rank has a state of its own, plans are sent",
          "[agreement]") {
  AllEntries entries(20);
  for (size_t rank = 0; rank < entries.size(); ++rank) {
    entries[rank].AddObject("rank" + std::to_string(rank),
                            conformance::ObjectOf(1));
  }
  SavingRanks ranks(entries.size());
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGS");
  CHECK(ReadMetadata(*fs).entries().size() == entries.size());
}

TEST_CASE("states of many bytes are left to the coordinator", "[agreement]") {
  Job job = TwoStages(1);
  for (StateSpec& spec : job.specs) {
    for (int i = 0; i < 9; ++i) {  // both stages: 18 MB
      spec.entries.push_back(
          ObjectEntry(std::string(1'000'000, static_cast<char>('a' + i)), 1));
    }
  }
  SavedJob saved = Filled(job);
  SavingRanks ranks(2);
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GSGBGS");
  CHECK(ranks.nbytes() > 17'000'000);  // the state, and then the plan
}

TEST_CASE("the coordinator's options count", "[agreement]") {
  Job job = TwoStages(2);
  for (StateSpec& spec : job.specs) {
    spec.entries.push_back(WholeEntry("large", {4000}));
  }
  SavedJob saved = Filled(job);
  SavingRanks ranks(4);
  auto fs = MakeMemoryFileSystem();
  std::vector<SaveOptions> options(4);
  options[0].split_nbytes = 1000;
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs), options));
  CHECK(ReadMetadata(*fs).FindTensor("large")->chunks.size() > 1);
  options[3].split_nbytes = 0;
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs), options));
  CHECK(ranks.calls() == "GSGBGS");
  options[0].split_nbytes = 0;
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs), options));
  CHECK(ReadMetadata(*fs).FindTensor("large")->chunks.size() == 1);
  CheckHolds(NativeOn(fs), saved.state);
}

TEST_CASE("a message that is garbled or of another version names its rank",
          "[agreement]") {
  struct Case {
    int call;
    size_t byte;
    char value;
    absl::StatusCode code;
    std::string text;
  };
  // A message begins with the byte of its seal, and its two versions.
  for (const Case& c : std::vector<Case>{
           {1, 2, 9, absl::StatusCode::kFailedPrecondition, "same version"},
           {1, 3, 7, absl::StatusCode::kDataLoss, "what a rank says"},
           {3, 40, '?', absl::StatusCode::kDataLoss, "not the one of its"}}) {
    SavedJob saved = Filled(TwoStages(2));
    SavingRanks ranks(4);
    ranks.transports[2]->set_change([&](int call, std::string* message) {
      if (call == c.call) (*message)[c.byte] = c.value;
    });
    const RankFailures failures = RequireSameFailures(
        ranks.Save(saved.entries, NativeOn(MakeMemoryFileSystem())));
    CHECK(failures.phase == "plan");
    REQUIRE(failures.by_rank.size() == 1);
    const auto& [rank, status] = *failures.by_rank.begin();
    CHECK(rank == 2);
    CHECK(status.code() == c.code);
    CHECK_THAT(std::string(Message(status)), Contains(c.text));
  }
}

TEST_CASE("a rank that is told of a plan of other states writes nothing",
          "[agreement]") {
  // The id of the plan comes after the byte of the seal, the two versions, and
  // the kind of a reply, or whether there are states.
  constexpr size_t kId = 4;
  for (const uint32_t stages : {1U, 2U}) {
    Job job = TwoStages(2);
    job.specs.resize(stages);
    job.spec_of_rank.resize(2 * stages);
    SavedJob saved = Filled(job);
    SavingRanks ranks(saved.entries.size());
    const int reply = stages == 1 ? 2 : 4;
    ranks.transports[1]->set_reply_change([&](int call, std::string* message) {
      if (call == reply) (*message)[kId] ^= 1;
    });
    const RankFailures failures = RequireSameFailures(
        ranks.Save(saved.entries, NativeOn(MakeMemoryFileSystem())));
    REQUIRE(failures.by_rank.size() == 1);
    const Status& status = failures.by_rank.at(1);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(status)), Contains("no part in"));
  }
}

TEST_CASE("a rank's error reaches all, and the next save is planned as before",
          "[agreement]") {
  SavedJob saved = Filled(TwoStages(2));
  SavingRanks ranks(4);
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  auto& shard = std::get<TensorShard>(saved.entries[2].entries()[0].value);
  const Dims right = shard.offsets;
  shard.offsets = {1, 0};
  const RankFailures failures =
      RequireSameFailures(ranks.Save(saved.entries, NativeOn(fs)));
  REQUIRE(failures.by_rank.count(2) == 1);
  const Status& status = failures.by_rank.at(2);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)),
             Contains("the tensor layers.1.0 of rank 2 has the shape [9, 3] at "
                      "[1, 0], but its layout makes it [9, 3] at [0, 0]"));
  shard.offsets = right;
  RequireAllSucceed(ranks.Save(saved.entries, NativeOn(fs)));
  CHECK(ranks.calls() == "GS");
  CheckHolds(NativeOn(fs), saved.state);
}

}  // namespace
}  // namespace dcp
