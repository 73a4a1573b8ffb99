#include "plan/state_spec.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

#include "base/wire.h"
#include "plan/state_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

StateSpec RandomSpec(Random* random) {
  Job job = JobMaker(random).Make();
  StateSpec spec = std::move(job.specs.back());
  for (StateEntry& entry : spec.entries) {
    if (auto* tensor = std::get_if<WholeTensor>(&entry.value)) {
      tensor->properties.requires_grad = random->OneIn(2);
      if (random->OneIn(3)) tensor->nbytes = random->Between(0, 99);
    }
  }
  return spec;
}

TEST_CASE("a state spec comes back as it was sent", "[spec]") {
  Random random(1);
  for (int trial = 0; trial < 1000; ++trial) {
    const StateSpec spec = RandomSpec(&random);
    const std::string bytes = SerializeStateSpec(spec);
    const StatusOr<StateSpec> parsed = ParseStateSpec(bytes);
    INFO(Message(parsed.status()));
    REQUIRE(parsed.ok());
    REQUIRE(*parsed == spec);
    REQUIRE(SerializeStateSpec(*parsed) == bytes);
    REQUIRE(DigestOf(*parsed) == DigestOf(spec));
  }
}

TEST_CASE("ranks in any order come back", "[spec]") {
  for (const std::vector<uint32_t>& ranks :
       std::vector<std::vector<uint32_t>>{{0},
                                          {5, 4, 3},
                                          {0, 8, 16, 1, 9, 17},
                                          {UINT32_MAX, 0, UINT32_MAX - 1},
                                          {7, 1, 2, 3, 9, 9, 0}}) {
    const StateSpec spec{
        .meshes = {{{static_cast<int64_t>(ranks.size())}, ranks}}};
    const auto parsed = ParseStateSpec(SerializeStateSpec(spec));
    REQUIRE(parsed.ok());
    CHECK(parsed->meshes[0].ranks == ranks);
  }
}

TEST_CASE("every truncation of a state spec is an error", "[spec]") {
  Random random(2);
  for (int trial = 0; trial < 50; ++trial) {
    const std::string bytes = SerializeStateSpec(RandomSpec(&random));
    for (size_t n = 0; n < bytes.size(); ++n) {
      const auto parsed = ParseStateSpec(std::string_view(bytes).substr(0, n));
      REQUIRE(parsed.status().code() == absl::StatusCode::kDataLoss);
    }
    CHECK(ParseStateSpec(bytes + '\0').status().code() ==
          absl::StatusCode::kDataLoss);
  }
}

void RequireRefusedOrSound(const std::string& bytes, int* refused) {
  const StatusOr<StateSpec> parsed = ParseStateSpec(bytes);
  if (parsed.ok()) {
    REQUIRE(CheckStateSpec(*parsed).ok());
    return;
  }
  ++*refused;
  const absl::StatusCode code = parsed.status().code();
  REQUIRE((code == absl::StatusCode::kDataLoss ||
           code == absl::StatusCode::kFailedPrecondition));
}

TEST_CASE("garbled state specs are refused or sound, never trusted", "[spec]") {
  Random random(3);
  int refused = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string bytes = SerializeStateSpec(RandomSpec(&random));
    for (int64_t n = random.Between(1, 4); n > 0; --n) {
      // Mostly in what a save plan does not have: meshes and layouts.
      const auto end = static_cast<int64_t>(bytes.size());
      const auto at = static_cast<size_t>(random.Between(
          0, random.OneIn(3) ? end - 1 : std::min<int64_t>(end - 1, 60)));
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Between(0, 7)));
    }
    RequireRefusedOrSound(bytes, &refused);
  }
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string bytes = "\x01\x01";
    for (int64_t n = random.Between(0, 60); n > 0; --n) {
      bytes += static_cast<char>(random.Between(0, 255));
    }
    RequireRefusedOrSound(bytes, &refused);
  }
  CHECK(refused > 20'000);
}

TEST_CASE("a few bytes do not become a mesh that fills the memory", "[spec]") {
  WireWriter out;
  out.PutU8(1);
  out.PutU8(1);
  out.PutVarint(1);
  out.PutDims({int64_t{1} << 40});
  out.PutVarint(0);
  out.PutSigned(1);
  out.PutVarint(uint64_t{1} << 40);
  CHECK(ParseStateSpec(out.data()).status().code() ==
        absl::StatusCode::kDataLoss);
}

TEST_CASE("a spec for newer readers is refused by name", "[spec]") {
  std::string bytes = SerializeStateSpec({});
  bytes[0] = 9;
  bytes[1] = 8;
  const Status status = ParseStateSpec(bytes).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(status)),
             Contains("needs a reader of version 8"));
  bytes[1] = 1;
  CHECK(ParseStateSpec(bytes + "new").ok());
}

StateSpec Sample() {
  StateSpec spec{.meshes = {MeshOf({2, 4}), MeshOf({8})}};
  AddLaidOut(&spec, "rows", {{64, 8}, 0, {{}, Placement::Shard(0)}});
  AddLaidOut(&spec, "flat", {{64, 8}, 1, {Placement::StridedShard(0, 2)}});
  spec.entries.push_back(WholeEntry("whole", {3}));
  spec.entries.push_back(ObjectEntry("object", 7));
  spec.planner_data = {{"rows", {"model", "rows"}}};
  spec.ties = {{"tied", "rows"}};
  return spec;
}

/// Every field of a spec, changed.
std::vector<std::function<void(StateSpec*)>> Changes() {
  using S = StateSpec*;
  const auto laid_out = [](S s) -> LaidOutTensor& {
    return std::get<LaidOutTensor>(s->entries[0].value);
  };
  const auto whole = [](S s) -> WholeTensor& {
    return std::get<WholeTensor>(s->entries[2].value);
  };
  return {
      [](S s) { s->meshes[0].sizes = {4, 2}; },
      [](S s) { std::swap(s->meshes[0].ranks[6], s->meshes[0].ranks[7]); },
      [](S s) { s->meshes[1].ranks[7] = 8; },
      [](S s) { s->meshes.push_back(MeshOf({1})); },
      [](S s) { s->layouts[0].global_size = {65, 8}; },
      [](S s) { s->layouts[0].global_size = {64, 8, 1}; },
      [](S s) { s->layouts[1].mesh = 0; },
      [](S s) { s->layouts[0].placements[1] = Placement::Shard(1); },
      [](S s) {
        std::swap(s->layouts[0].placements[0], s->layouts[0].placements[1]);
      },
      [](S s) { s->layouts[1].placements[0].split_factor = 3; },
      [](S s) { s->layouts[1].placements[0] = Placement::Shard(0); },
      [](S s) { s->layouts.push_back(s->layouts[0]); },
      [=](S s) { laid_out(s).layout = 1; },
      [=](S s) { laid_out(s).properties.dtype = DType::kInt32; },
      [=](S s) { laid_out(s).properties.layout = Layout::kJagged; },
      [=](S s) { laid_out(s).properties.requires_grad = true; },
      [=](S s) { laid_out(s).properties.pin_memory = true; },
      [=](S s) {
        laid_out(s).properties.memory_format = MemoryFormat::kPreserve;
      },
      [](S s) { s->entries[0].fqn = "row"; },
      [](S s) { std::swap(s->entries[0], s->entries[1]); },
      [](S s) { s->entries.pop_back(); },
      [=](S s) { whole(s).size = {1, 3}; },
      [=](S s) { whole(s).nbytes = 13; },
      [=](S s) { whole(s).properties.dtype = DType::kInt32; },
      [](S s) { s->entries[2].value = StateObject{.nbytes = 12}; },
      [](S s) { s->entries[3].value = StateObject{.nbytes = 8}; },
      [](S s) { s->planner_data.reset(); },
      [](S s) { s->planner_data->begin()->second = {"model", int64_t{1}}; },
      [](S s) { s->planner_data->emplace("flat", ObjectPath{"flat"}); },
      [](S s) { s->ties.clear(); },
      [](S s) { s->ties["tied"] = "flat"; },
  };
}

TEST_CASE("without objects a spec is that of its tensors", "[spec]") {
  StateSpec spec = Sample();
  const StateSpec tensors = WithoutObjects(spec);
  CHECK(tensors.entries.size() == spec.entries.size() - 1);
  spec.entries.insert(spec.entries.begin(), ObjectEntry("other", 9));
  spec.planner_data->emplace("other", ObjectPath{"other"});
  CHECK(WithoutObjects(spec) == tensors);
  spec.planner_data.reset();
  CHECK_FALSE(WithoutObjects(spec).planner_data.has_value());
}

TEST_CASE("a change of any field is another digest", "[spec]") {
  std::set<Digest128> seen = {DigestOf(Sample())};
  CHECK_FALSE(seen.insert(DigestOf(Sample())).second);
  int number = 0;
  for (const auto& change : Changes()) {
    StateSpec spec = Sample();
    change(&spec);
    INFO(number++);
    CHECK(seen.insert(DigestOf(spec)).second);
  }
}

TEST_CASE("what a spec cannot say is named", "[spec]") {
  const auto error = [](const std::function<void(StateSpec*)>& change) {
    StateSpec spec = Sample();
    REQUIRE(CheckStateSpec(spec).ok());
    change(&spec);
    const Status status = CheckStateSpec(spec);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    return std::string(Message(status));
  };
  CHECK_THAT(error([](StateSpec* s) { s->meshes[1].ranks.pop_back(); }),
             Contains("of the sizes [8] has 7 ranks"));
  CHECK_THAT(error([](StateSpec* s) { s->layouts[0].mesh = 2; }),
             Contains("over the mesh 2 of 2"));
  CHECK_THAT(error([](StateSpec* s) { s->layouts[0].placements.pop_back(); }),
             Contains("has 1 placements"));
  CHECK_THAT(error([](StateSpec* s) {
               std::get<LaidOutTensor>(s->entries[1].value).layout = 2;
             }),
             Contains("the entry flat"));
  CHECK_THAT(
      error([](StateSpec* s) { s->layouts[0].global_size = {INT64_MAX, 1}; }),
      Contains("the entry rows"));
  CHECK_THAT(error([](StateSpec* s) {
               s->entries[3].value = StateObject{.nbytes = -1};
             }),
             Contains("the entry object"));
  CHECK_THAT(error([](StateSpec* s) {
               s->entries[3].value = StateObject{.nbytes = INT64_MAX};
             }),
             Contains("the entry object"));
}

}  // namespace
}  // namespace dcp
