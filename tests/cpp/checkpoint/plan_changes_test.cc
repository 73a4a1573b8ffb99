// A plan that is remembered is used only for just that state.

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/planned_saves.h"
#include "storage/damage.h"

namespace dcp {
namespace {

/// Two ranks with two tensors that lie over them, a whole one and an object.
Job TwoRanks() {
  Job job{.specs = {{.meshes = {MeshOf({2})}}}, .spec_of_rank = {0, 0}};
  AddLaidOut(&job.specs[0], "rows", {{6, 4}, 0, {Placement::Shard(0)}});
  AddLaidOut(&job.specs[0], "same", {{6, 4}, 0, {Placement::Replicate()}});
  job.specs[0].entries.push_back(WholeEntry("whole", {5}));
  job.specs[0].entries.push_back(ObjectEntry("object", 1));
  return job;
}

struct Change {
  std::string name;
  /// Of one rank's entries, and options.
  std::function<void(std::vector<SaveEntry>& entries, SaveOptions& options)>
      make;
};

TensorShard& ShardOf(SaveEntry& entry) {
  return std::get<TensorShard>(entry.value);
}

/// `entry` with a layout that `change` has changed, and what follows from it.
void LayOut(SaveEntry& entry, const std::function<void(MeshLayout&)>& change) {
  MeshLayout layout = *ShardOf(entry).layout;
  change(layout);
  ShardOf(entry).layout = std::make_shared<MeshLayout>(std::move(layout));
}

/// One field each, in ways that leave the rank's entries possible.
std::vector<Change> Changes() {
  return {
      {"a key", [](auto& entries, auto&) { entries[2].fqn = "other"; }},
      {"the order",
       [](auto& entries, auto&) { std::swap(entries[2], entries[3]); }},
      {"one key less", [](auto& entries, auto&) { entries.pop_back(); }},
      {"a path",
       [](auto& entries, auto&) {
         entries[2].path = {std::string("a"), int64_t{3}};
       }},
      {"a dtype",
       [](auto& entries, auto&) {
         ShardOf(entries[0]).view.dtype = DType::kInt32;
       }},
      {"a gradient",
       [](auto& entries, auto&) { ShardOf(entries[2]).requires_grad = true; }},
      {"the shape of a whole tensor",
       [](auto& entries, auto&) {
         ShardOf(entries[2]).view.sizes = {4};
         ShardOf(entries[2]).global_size = {4};
       }},
      {"the shape of a replicated tensor",
       [](auto& entries, auto&) {
         ShardOf(entries[1]).view.sizes = {6, 3};
         ShardOf(entries[1]).global_size = {6, 3};
       }},
      {"a placement",
       [](auto& entries, auto&) {
         LayOut(entries[1], [](MeshLayout& layout) {
           layout.placements = {Placement::Shard(0)};
         });
         ShardOf(entries[1]).view.sizes = {3, 4};
         ShardOf(entries[1]).offsets[0] =
             ShardOf(entries[1]).layout->coordinate[0] * 3;
       }},
      {"a mesh",
       [](auto& entries, auto&) {
         LayOut(entries[1], [](MeshLayout& layout) {
           layout.mesh = std::make_shared<DeviceMesh>(MeshOf({2, 1}));
           layout.placements.push_back(Placement::Replicate());
           layout.coordinate.push_back(0);
         });
       }},
      {"an object's length",
       [](auto& entries, auto&) {
         entries[3].value =
             SerializedObject{*EncodeObject({std::string(300, 'x')})};
       }},
      {"that a tensor is whole",
       [](auto& entries, auto&) {
         ShardOf(entries[1]).layout = nullptr;
         ShardOf(entries[1]).type = WriteItemType::kTensor;
       }},
      {"what is split",
       [](auto&, SaveOptions& options) { options.split_nbytes = 77; }},
      {"who writes what several have",
       [](auto&, SaveOptions& options) {
         options.dedup_to_lowest_rank = true;
       }},
  };
}

TEST_CASE("a change of one field on one rank is noticed", "[agreement]") {
  for (const Change& change : Changes()) {
    for (const size_t rank : {0, 1}) {
      INFO(change.name << " of rank " << rank);
      SavedJob saved = Filled(TwoRanks());
      SavingRanks ranks(2);
      auto fs = MakeMemoryFileSystem();
      const auto storage = NativeStorage(NativePlace{.fs = fs});
      std::vector<SaveOptions> options(2);
      for (int again = 0; again < 2; ++again) {
        RequireAllSucceed(ranks.Save(saved.entries, storage, options));
        REQUIRE(ranks.calls() == "GS");
      }
      change.make(saved.entries[rank].entries(), options[rank]);
      const auto results = ranks.Save(saved.entries, storage, options);
      CHECK(ranks.calls().size() > 2);
      // Ranks may disagree now, which all learn as when plans are gathered.
      if (!results[0].ok()) RequireSameFailures(results);
    }
  }
}

TEST_CASE("a change on all ranks is planned anew", "[agreement]") {
  SavedJob saved = Filled(TwoRanks());
  SavingRanks ranks(2);
  auto fs = MakeMemoryFileSystem();
  const auto storage = NativeStorage(NativePlace{.fs = fs});
  RequireAllSucceed(ranks.Save(saved.entries, storage));
  const auto more = conformance::RandomTensor(9, DType::kInt64, {3});
  for (RankEntries& entries : saved.entries) entries.AddWhole("more", more);
  saved.state.tensors["more"] = more;
  RequireAllSucceed(ranks.Save(saved.entries, storage));
  conformance::CheckHolds(storage, saved.state);
}

}  // namespace
}  // namespace dcp
