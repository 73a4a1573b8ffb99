#include "plan/closed_form_plan.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>

#include "plan/state_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::vector<SavePlan> SharesOf(const Job& job, const ClosedFormPlan& plan) {
  std::vector<SavePlan> shares;
  for (uint32_t rank = 0; rank < job.spec_of_rank.size(); ++rank) {
    shares.push_back(plan.ShareOf(rank));
  }
  return shares;
}

bool Contains(const Box& outer, const Box& inner) {
  const auto common = Intersect(outer, inner);
  return outer == inner || (common && *common == inner);
}

/// Requires that each rank holds what it writes, and says so as its local plan
/// does.
void RequireHeld(const std::vector<SavePlan>& shares,
                 const std::vector<SavePlan>& local) {
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    REQUIRE(shares[rank].ties == local[rank].ties);
    REQUIRE_FALSE(shares[rank].planner_data);
    int64_t before = -1;
    for (WriteItem item : shares[rank].items) {
      REQUIRE(item.source > before);
      before = item.source;
      const WriteItem& held =
          local[rank].items[static_cast<size_t>(item.source)];
      if (item.chunk != held.chunk) {
        REQUIRE(Contains(held.chunk, item.chunk));
        REQUIRE(item.type == WriteItemType::kShard);
        REQUIRE(item.nbytes ==
                item.chunk.numel() * ItemSize(item.properties.dtype));
        item.chunk = held.chunk;
        item.type = held.type;
        item.nbytes = held.nbytes;
      }
      REQUIRE(item == held);
    }
  }
}

/// The keys and chunks that are written, each of which has one writer.
std::map<std::string, std::set<std::pair<Dims, Dims>>> WrittenBy(
    const std::vector<SavePlan>& shares) {
  std::map<std::string, std::set<std::pair<Dims, Dims>>> written;
  for (const SavePlan& share : shares) {
    for (const WriteItem& item : share.items) {
      const auto chunk = std::pair(item.chunk.offsets, item.chunk.sizes);
      INFO(ToString(item.index()));
      REQUIRE(written[item.fqn].insert(chunk).second);
    }
  }
  return written;
}

/// Requires that `metadata` is what `shares` write, rank by rank.
void RequireMetadataOf(const std::vector<SavePlan>& shares,
                       const Metadata& metadata) {
  std::map<std::string, std::vector<Box>> chunks;
  for (const SavePlan& share : shares) {
    for (const WriteItem& item : share.items) {
      std::vector<Box>& of_key = chunks[item.fqn];
      if (item.type != WriteItemType::kByteIo) of_key.push_back(item.chunk);
    }
  }
  REQUIRE(chunks.size() == metadata.entries().size());
  for (const auto& [fqn, entry] : metadata.entries()) {
    const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
    const std::vector<Box> listed =
        tensor == nullptr ? std::vector<Box>() : tensor->chunks;
    REQUIRE(listed == chunks[fqn]);
  }
}

/// Requires the same entries in the same order, but for how they are cut.
void RequireSameEntries(const Metadata& a, const Metadata& b) {
  REQUIRE(a.planner_data == b.planner_data);
  REQUIRE(a.entries().size() == b.entries().size());
  for (size_t i = 0; i < a.entries().size(); ++i) {
    const std::string& fqn = a.entries()[i].first;
    REQUIRE(fqn == b.entries()[i].first);
    const TensorStorageMetadata* a_tensor = a.FindTensor(fqn);
    const TensorStorageMetadata* b_tensor = b.FindTensor(fqn);
    REQUIRE((a_tensor == nullptr) == (b_tensor == nullptr));
    if (a_tensor == nullptr) continue;
    REQUIRE(a_tensor->properties == b_tensor->properties);
    REQUIRE(a_tensor->size == b_tensor->size);
  }
}

TEST_CASE("ranks alone write what a gathered plan would have them write",
          "[closed_form]") {
  Random random(1);
  int closed = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    const Job job = JobMaker(&random).Make();
    const GlobalPlanOptions options{.split_nbytes = 0};
    const auto plan =
        ClosedFormPlan::Make(job.specs, job.spec_of_rank, options);
    if (!HasWholeRuns(job)) {
      REQUIRE(plan.status().code() == absl::StatusCode::kUnimplemented);
      continue;
    }
    INFO(Message(plan.status()));
    REQUIRE(plan.ok());
    ++closed;
    const std::vector<SavePlan> local = LocalPlansOf(job);
    const auto gathered = CreateGlobalSavePlan(local, options);
    INFO(Message(gathered.status()));
    REQUIRE(gathered.ok());
    const std::vector<SavePlan> shares = SharesOf(job, *plan);
    RequireHeld(shares, local);
    REQUIRE(WrittenBy(shares) == WrittenBy(gathered->plans));
    const Metadata metadata = plan->MakeMetadata();
    RequireMetadataOf(shares, metadata);
    RequireSameEntries(metadata, gathered->metadata);
  }
  CHECK(closed > 1000);
}

TEST_CASE("pieces of replicated chunks cover what is whole", "[closed_form]") {
  Random random(2);
  size_t pieces = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    const Job job = JobMaker(&random).Make();
    const GlobalPlanOptions options{.split_nbytes =
                                        random.Pick<int64_t>({16, 100, 1000})};
    const auto plan =
        ClosedFormPlan::Make(job.specs, job.spec_of_rank, options);
    if (!plan.ok()) continue;
    const std::vector<SavePlan> local = LocalPlansOf(job);
    const std::vector<SavePlan> shares = SharesOf(job, *plan);
    RequireHeld(shares, local);
    WrittenBy(shares);
    const Metadata metadata = plan->MakeMetadata();
    RequireMetadataOf(shares, metadata);
    const Status valid = ValidateChunks(metadata, CoverageRule::kRequireFull);
    INFO(Message(valid));
    REQUIRE(valid.ok());
    const auto gathered = CreateGlobalSavePlan(local, {.split_nbytes = 0});
    REQUIRE(gathered.ok());
    RequireSameEntries(metadata, gathered->metadata);
    for (const auto& [fqn, entry] : metadata.entries()) {
      if (metadata.FindTensor(fqn) == nullptr) continue;
      pieces += metadata.FindTensor(fqn)->chunks.size() -
                gathered->metadata.FindTensor(fqn)->chunks.size();
    }
  }
  CHECK(pieces > 1000);
}

TEST_CASE("the lowest holder writes a chunk in closed form, if asked to",
          "[closed_form]") {
  Random random(3);
  const GlobalPlanOptions options{.dedup_to_lowest_rank = true};
  int compared = 0;
  int refused = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    const Job job = JobMaker(&random).Make();
    const auto plan =
        ClosedFormPlan::Make(job.specs, job.spec_of_rank, options);
    if (!plan.ok()) {
      REQUIRE_FALSE((HasWholeRuns(job) && Ascends(job)));
      ++refused;
      continue;
    }
    const auto gathered = CreateGlobalSavePlan(LocalPlansOf(job), options);
    REQUIRE(gathered.ok());
    REQUIRE(SharesOf(job, *plan) == gathered->plans);
    const Metadata metadata = plan->MakeMetadata();
    REQUIRE(metadata.entries() == gathered->metadata.entries());
    REQUIRE(metadata.planner_data == gathered->metadata.planner_data);
    ++compared;
  }
  CHECK(compared > 500);
  CHECK(refused > 20);
}

TEST_CASE("ranks of one mesh may differ in what else they have",
          "[closed_form]") {
  Job job{.spec_of_rank = {1, 0, 0, 1}};
  for (int64_t i = 0; i < 2; ++i) {
    StateSpec& spec = job.specs.emplace_back();
    spec.meshes = {MeshOf({2, 2})};
    if (i == 1) spec.entries.push_back(WholeEntry("extra", {3}));
    AddLaidOut(&spec, "rows", {{7}, 0, {{}, Placement::Shard(0)}});
    spec.entries.push_back(ObjectEntry("object", 10 + i));
  }
  job.specs.emplace_back();  // nobody's, so that it may be anything
  job.specs[2].layouts.push_back({{-1}, 5, {}});
  const auto plan = ClosedFormPlan::Make(job.specs, job.spec_of_rank, {});
  INFO(Message(plan.status()));
  REQUIRE(plan.ok());
  const std::vector<SavePlan> local = LocalPlansOf(job);
  const auto gathered = CreateGlobalSavePlan(local, {});
  REQUIRE(gathered.ok());
  const std::vector<SavePlan> shares = SharesOf(job, *plan);
  RequireHeld(shares, local);
  CHECK(WrittenBy(shares) == WrittenBy(gathered->plans));
  RequireSameEntries(plan->MakeMetadata(), gathered->metadata);
}

/// Two ranks that have two tensors, the second on a mesh.
Job TwoRanks() {
  Job job{.specs = {{.meshes = {MeshOf({2})}}}, .spec_of_rank = {0, 0}};
  job.specs[0].entries.push_back(WholeEntry("whole", {4}));
  AddLaidOut(&job.specs[0], "rows", {{4}, 0, {Placement::Shard(0)}});
  return job;
}

std::string Refusal(const Job& job) {
  const Status status =
      ClosedFormPlan::Make(job.specs, job.spec_of_rank, {}).status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  return std::string(Message(status));
}

TEST_CASE("a state that does not follow from its specs is left to gathering",
          "[closed_form]") {
  const Job good = TwoRanks();
  REQUIRE(ClosedFormPlan::Make(good.specs, good.spec_of_rank, {}).ok());

  Job job = good;
  job.spec_of_rank.push_back(0);
  CHECK_THAT(Refusal(job), Contains("the ranks that have rows are not those"));
  job = good;
  job.spec_of_rank.pop_back();
  CHECK_THAT(Refusal(job), Contains("has rank 1 of 1"));
  job = good;
  job.specs[0].meshes[0].ranks = {1, 1};
  CHECK_THAT(Refusal(job), Contains("or has it twice"));
  job = good;
  job.spec_of_rank[1] = 1;
  CHECK_THAT(Refusal(job), Contains("has the spec 1 of 1"));
  job = good;
  job.specs[0].entries.push_back(job.specs[0].entries[0]);
  CHECK_THAT(Refusal(job), Contains("whole is not the same in all states"));
  job = good;
  job.specs[0].layouts[0].mesh = 1;
  CHECK_THAT(Refusal(job), Contains("over the mesh 1 of 1"));
  job = good;
  job.specs[0].layouts[0].placements = {Placement::StridedShard(0, 2)};
  CHECK_THAT(Refusal(job), Contains("(_S(0, 2)) are no whole runs"));
}

TEST_CASE("specs that disagree about a key are left to gathering",
          "[closed_form]") {
  Job good = TwoRanks();
  good.specs[0].meshes = {MeshOf({1})};
  good.specs.push_back(good.specs[0]);
  good.specs[1].meshes = {MeshOf({1}, 1)};
  good.spec_of_rank = {0, 1};
  REQUIRE(ClosedFormPlan::Make(good.specs, good.spec_of_rank, {}).ok());
  const auto refuses = [&](const auto& change) {
    Job job = good;
    change(&job.specs[1]);
    CHECK_THAT(Refusal(job), Contains("not the same in all states"));
  };
  refuses([](StateSpec* spec) { spec->layouts[0].global_size = {5}; });
  refuses([](StateSpec* spec) { spec->layouts[0].placements[0] = {}; });
  refuses([](StateSpec* spec) {
    std::swap(spec->entries[0].fqn, spec->entries[1].fqn);
  });
  refuses([](StateSpec* spec) { spec->entries[0] = WholeEntry("whole", {3}); });
  refuses([](StateSpec* spec) {
    spec->entries[0] = WholeEntry("whole", {4}, DType::kInt32);
  });
  refuses([](StateSpec* spec) { spec->entries[0] = ObjectEntry("whole", 9); });
  Job shared = good;  // a mesh of both, on which only one has the tensor
  shared.specs[0].meshes[0] = MeshOf({2});
  shared.specs[1].entries.pop_back();
  CHECK_THAT(Refusal(shared), Contains("are not those of its device mesh"));
}

}  // namespace
}  // namespace dcp
