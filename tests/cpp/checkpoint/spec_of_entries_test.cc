#include "checkpoint/spec_of_entries.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/save_planning.h"
#include "dcp/filesystem_storage.h"
#include "plan/state_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::shared_ptr<MeshLayout> LayoutOn(const DeviceMesh& mesh,
                                     std::vector<Placement> placements,
                                     Dims coordinate) {
  return std::make_shared<MeshLayout>(
      MeshLayout{.mesh = std::make_shared<DeviceMesh>(mesh),
                 .placements = std::move(placements),
                 .coordinate = std::move(coordinate)});
}

/// A view whose elements nobody reads.
TensorView Floats(Dims sizes) {
  static float one = 0;
  return ContiguousView(&one, DType::kFloat32, std::move(sizes));
}

StatusOr<std::optional<StateSpec>> SpecOf(const std::vector<SaveEntry>& entries,
                                          uint32_t rank) {
  const auto writer =
      MakeFileSystemWriter({}, {.file_system = MakeMemoryFileSystem()});
  const auto plan = MakeLocalPlan(entries, *writer, {});
  REQUIRE(plan.ok());
  return SpecOfEntries(entries, *plan, rank);
}

std::string Refusal(const Status& status) {
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(status));
}

TEST_CASE("a chunk follows from a layout", "[agreement]") {
  const auto layout = LayoutOn(
      MeshOf({2, 3}), {Placement::Shard(0), Placement::Shard(1)}, {1, 2});
  const auto entry = LaidOutEntry("w", Floats({2, 1}), {5, 7}, layout);
  REQUIRE(entry.ok());
  const auto& shard = std::get<TensorShard>(entry->value);
  CHECK(shard.type == WriteItemType::kShard);
  CHECK(shard.global_size == Dims{5, 7});
  CHECK(shard.offsets == Dims{3, 6});
  CHECK(shard.layout == layout);
}

TEST_CASE("a view that is not the chunk is refused", "[agreement]") {
  const auto layout = LayoutOn(
      MeshOf({2, 3}), {Placement::Shard(0), Placement::Shard(1)}, {1, 2});
  CHECK_THAT(
      Refusal(LaidOutEntry("w", Floats({2, 2}), {5, 7}, layout).status()),
      Contains("the tensor w of rank 5 has the shape [2, 2] at [3, 6], but its "
               "layout makes it [2, 1] at [3, 6]: [5, 7] over [2, 3] as (S(0), "
               "S(1))"));
  CHECK_THAT(Refusal(LaidOutEntry("w", Floats({5}), {5}, layout).status()),
             Contains("the tensor w: ") && Contains("shards of dimension 1"));
  CHECK_THAT(Refusal(LaidOutEntry("w", Floats({5}), {5}, nullptr).status()),
             Contains("w has no layout"));
  const auto outside = LayoutOn(MeshOf({2}), {Placement::Shard(0)}, {2});
  CHECK_THAT(Refusal(LaidOutEntry("w", Floats({5}), {5}, outside).status()),
             Contains("outside of a mesh"));
  MeshLayout none = *layout;
  none.mesh = nullptr;
  CHECK_FALSE(ChunkOf(none, {5, 7}).ok());
  const auto few = LayoutOn({.sizes = {2}, .ranks = {0}}, {{}}, {1});
  CHECK_THAT(Refusal(LaidOutEntry("w", Floats({5}), {5}, few).status()),
             Contains("sizes [2] has 1 ranks"));
}

TEST_CASE("a spec has each mesh and layout once, however often they are told",
          "[agreement]") {
  std::vector<SaveEntry> entries;
  for (const char* fqn : {"a", "b"}) {
    entries.push_back(
        *LaidOutEntry(fqn, Floats({2, 4}), {4, 4},
                      LayoutOn(MeshOf({2}), {Placement::Shard(0)}, {1})));
  }
  entries.push_back(
      *LaidOutEntry("c", Floats({2}), {4},
                    LayoutOn(MeshOf({2}), {Placement::Shard(0)}, {1})));
  entries.push_back(TensorEntry("whole", Floats({3})));
  entries.push_back({.fqn = "object", .value = SerializedObject{"bytes"}});
  const auto made = SpecOf(entries, 1);
  REQUIRE(made.ok());
  REQUIRE(made->has_value());
  StateSpec expected{.meshes = {MeshOf({2})}};
  AddLaidOut(&expected, "a", {{4, 4}, 0, {Placement::Shard(0)}});
  AddLaidOut(&expected, "b", {{4, 4}, 0, {Placement::Shard(0)}});
  AddLaidOut(&expected, "c", {{4}, 0, {Placement::Shard(0)}});
  expected.entries.push_back(WholeEntry("whole", {3}));
  expected.entries.push_back(ObjectEntry("object", 5));
  expected.planner_data.emplace();
  for (const SaveEntry& entry : entries) {
    expected.planner_data->emplace(entry.fqn, ObjectPath{entry.fqn});
  }
  CHECK(**made == expected);
}

TEST_CASE("entries that a spec cannot say have none", "[agreement]") {
  const auto has_spec = [](SaveEntry entry) {
    const auto made = SpecOf({std::move(entry)}, 0);
    REQUIRE(made.ok());
    return made->has_value();
  };
  const auto layout = LayoutOn(MeshOf({2}), {Placement::Replicate()}, {0});
  const SaveEntry good = *LaidOutEntry("w", Floats({4}), {4}, layout);
  CHECK(has_spec(good));
  SaveEntry shard = good;
  std::get<TensorShard>(shard.value).layout = nullptr;
  CHECK_FALSE(has_spec(shard));
  SaveEntry encoded = good;
  std::get<TensorShard>(encoded.value).encoded = "an item";
  CHECK_FALSE(has_spec(encoded));
  SaveEntry part = ShardEntry("w", Floats({2}), {4}, {2});
  std::get<TensorShard>(part.value).type = WriteItemType::kTensor;
  CHECK_FALSE(has_spec(part));
}

TEST_CASE("a layout of another rank is refused", "[agreement]") {
  const auto layout = LayoutOn(MeshOf({2}, 4), {Placement::Shard(0)}, {1});
  const auto entry = LaidOutEntry("w", Floats({2}), {4}, layout);
  REQUIRE(entry.ok());
  CHECK(SpecOf({*entry}, 5).ok());
  CHECK_THAT(Refusal(SpecOf({*entry}, 3).status()),
             Contains("the layout of w is that of rank 5, and this is rank 3"));
}

}  // namespace
}  // namespace dcp
