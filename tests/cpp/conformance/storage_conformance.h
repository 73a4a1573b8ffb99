// What every pair of StorageWriter and StorageReader must do; include this, and
// call it from a test case:
//
//   TEST_CASE("my storage conforms", "[my][conformance]") {
//     dcp::conformance::CheckStorage([] {
//       auto place = MakeMyPlace();  // empty, kept alive by the functions
//       return dcp::conformance::StorageUnderTest{
//           .make_writer = [place] { return MakeMyWriter(*place); },
//           .make_reader = [place] { return MakeMyReader(*place); }};
//     });
//   }
//
// Needs Catch2 v2 and dcp/ headers, nothing else of this project.

#ifndef DCP_TESTS_CONFORMANCE_STORAGE_CONFORMANCE_H_
#define DCP_TESTS_CONFORMANCE_STORAGE_CONFORMANCE_H_

#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "conformance/storage_driver.h"

namespace dcp::conformance {

/// Makes an empty place; called once per section.
using StorageFactory = std::function<StorageUnderTest()>;

inline std::string ObjectOf(int64_t number) {
  ObjectDict dict;
  dict.items.push_back({"step", {number}});
  dict.items.push_back({"name", {std::string("run")}});
  return EncodeObject({dict}).value();
}

/// A state with everything that a storage may stumble on.
inline State VariedState(uint64_t seed) {
  State state;
  state.objects["extra"] = ObjectOf(static_cast<int64_t>(seed));
  state.objects["extra.rng"] =
      EncodeObject({ObjectBytes{RandomBytes(seed, 5000)}}).value();
  state.objects["extra.large"] =
      EncodeObject({ObjectBytes{RandomBytes(seed, size_t{2} << 20)}}).value();
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.kind == DTypeKind::kQuantized) continue;
    state.tensors["dtype." + std::string(info.name)] =
        RandomTensor(++seed, info.dtype, {3, 5});
  }
  const auto add = [&](const std::string& fqn, Dims sizes) {
    state.tensors[fqn] =
        RandomTensor(++seed, DType::kFloat32, std::move(sizes));
  };
  add("scalar", {});
  add("one", {1});
  add("none", {0, 4});
  add("deep", {2, 1, 3, 1, 2, 1, 2});
  add("key with spaces, \"quotes\" and \xc3\xbc", {4});
  add("wide", {3, 70001});
  add("large", {1031, 1021});  // 4 MiB and a bit
  return state;
}

/// As VariedState, small, with the same keys for every seed.
inline State SmallState(uint64_t seed) {
  State state;
  state.objects["step"] = ObjectOf(static_cast<int64_t>(seed));
  state.tensors["weight"] = RandomTensor(seed, DType::kFloat32, {64, 32});
  state.tensors["bias"] = RandomTensor(seed + 1, DType::kBFloat16, {64});
  return state;
}

inline Status SaveOnce(const StorageUnderTest& storage, const State& state,
                       Holdings holdings) {
  return SaveRun(storage, state, std::move(holdings)).Run();
}

inline void CheckRoundTrips(const StorageUnderTest& storage) {
  SECTION("what one rank saves is what is read") {
    const State state = VariedState(1);
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    CheckHolds(storage, state);
  }
  SECTION("what several ranks save is what is read") {
    for (int world_size : {2, 3, 7}) {
      const State state = VariedState(static_cast<uint64_t>(world_size));
      DCP_CHECK_OK(SaveOnce(storage, state, ShardedState(state, world_size)));
      CheckHolds(storage, state);
    }
  }
  SECTION("a rank may have nothing to write") {
    const State state = SmallState(1);
    Holdings holdings = WholeState(state);
    holdings.emplace_back();
    DCP_CHECK_OK(SaveOnce(storage, state, std::move(holdings)));
    CheckHolds(storage, state);
  }
  SECTION("a checkpoint may be empty") {
    DCP_CHECK_OK(SaveOnce(storage, {}, {{}}));
    CheckHolds(storage, {});
  }
  SECTION("any part of a tensor can be read, into any place") {
    const State state = VariedState(5);
    DCP_CHECK_OK(SaveOnce(storage, state, ShardedState(state, 3)));
    std::mt19937_64 random(7);
    std::vector<Wanted> wanted;
    for (int i = 0; i < 60; ++i) {
      const std::string fqn = i % 2 == 0 ? "large" : "deep";
      Box box = WholeBox(state.tensors.at(fqn).sizes);
      for (int d = 0; d < box.ndim(); ++d) {
        const auto size = static_cast<uint64_t>(box.sizes[d]);
        const uint64_t begin = random() % size;
        box.offsets[d] = static_cast<int64_t>(begin);
        box.sizes[d] = static_cast<int64_t>(random() % (size - begin) + 1);
      }
      wanted.push_back({.fqn = fqn, .box = box});
    }
    DCP_CHECK_OK(LoadInto(*storage.make_reader(), wanted));
    CheckArrived(state, wanted);
  }
  SECTION("a tensor is converted to the dtype of its destination") {
    State state;
    state.tensors["t"] = {.dtype = DType::kInt32, .sizes = {2}};
    state.tensors["t"].bytes = std::string("\x07\0\0\0\xfe\xff\xff\xff", 8);
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    std::vector<Wanted> wanted = AllOf(state);
    wanted[0].dtype = DType::kInt64;
    DCP_CHECK_OK(LoadInto(*storage.make_reader(), wanted));
    CHECK(
        wanted[0].bytes ==
        std::string("\x07\0\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff", 16));
  }
  SECTION("a source that makes payloads on demand keeps few at once") {
    const State state = VariedState(6);
    SaveRun run(storage, state, ShardedState(state, 2));
    run.source().LimitTo(100000);
    DCP_CHECK_OK(run.Run());
    CHECK_FALSE(run.source().over_limit());
    CheckHolds(storage, state);
  }
}

inline void CheckReports(const StorageUnderTest& storage) {
  SECTION("every planned item is reported once, by the rank that wrote it") {
    const State state = VariedState(8);
    SaveRun run(storage, state, ShardedState(state, 3));
    DCP_CHECK_OK(run.Run());
    for (size_t rank = 0; rank < run.outcomes().size(); ++rank) {
      std::multiset<std::string> planned;
      std::multiset<std::string> reported;
      for (const WriteItem& item : run.plan().plans[rank].items) {
        planned.insert(ToString(item.index()));
      }
      for (const WriteResult& result : run.outcomes()[rank].results) {
        reported.insert(ToString(result.index));
      }
      CHECK(reported == planned);
    }
  }
  SECTION("what Finish returns is what readers find") {
    const State state = SmallState(9);
    SaveRun run(storage, state, ShardedState(state, 2));
    DCP_CHECK_OK(run.Run());
    const auto published = ParseMetadata(run.published());
    DCP_CHECK_OK(published.status());
    const auto index = storage.make_reader()->ReadIndex();
    DCP_CHECK_OK(index.status());
    if (!published.ok() || !index.ok()) return;
    CHECK(index->metadata.entries() == published->entries());
    CHECK(index->metadata.storage_data.size() ==
          published->storage_data.size());
    CHECK(index->metadata.entries() == run.plan().metadata.entries());
  }
  SECTION("the commit is attempted by Finish and not before") {
    const State state = SmallState(10);
    SaveRun run(storage, state, WholeState(state));
    CHECK_FALSE(run.writer(0).commit_attempted());
    DCP_CHECK_OK(run.Plan());
    DCP_CHECK_OK(run.Write());
    CHECK_FALSE(run.writer(0).commit_attempted());
    DCP_CHECK_OK(run.Finish());
    CHECK(run.writer(0).commit_attempted());
  }
  SECTION("an empty place has no checkpoint") {
    const auto reader = storage.make_reader();
    CHECK(reader->ReadIndex().status().code() == absl::StatusCode::kNotFound);
    CHECK(reader->ReadRankIndex(0).status().code() ==
          absl::StatusCode::kNotFound);
  }
}

inline void CheckFailedSaves(const StorageUnderTest& storage) {
  SECTION("an aborted save leaves no checkpoint, and the next one works") {
    const State state = SmallState(11);
    SaveRun run(storage, state, ShardedState(state, 2));
    DCP_CHECK_OK(run.Plan());
    DCP_CHECK_OK(run.Write());
    run.Abort();
    CHECK(storage.make_reader()->ReadIndex().status().code() ==
          absl::StatusCode::kNotFound);
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    CheckHolds(storage, state);
  }
  SECTION("a save replaces the checkpoint that is there") {
    const State old = VariedState(12);
    const State state = SmallState(13);
    DCP_CHECK_OK(SaveOnce(storage, old, ShardedState(old, 3)));
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    CheckHolds(storage, state);
  }
  SECTION("one writer saves again and again") {
    const std::shared_ptr<StorageWriter> writer = storage.make_writer();
    for (uint64_t step = 1; step <= 3; ++step) {
      const State state = SmallState(20 + step);
      SaveRun run({writer}, state, WholeState(state));
      run.source().FailAt(step == 2 ? "weight" : "");
      const Status saved = run.Run();
      CHECK(saved.ok() == (step != 2));
      if (!saved.ok()) run.Abort();
      CheckHolds(storage, saved.ok() ? state : SmallState(21));
    }
  }
  SECTION("an unfinished save does not touch the checkpoint that is there") {
    const State old = SmallState(14);
    const State state = SmallState(15);
    DCP_CHECK_OK(SaveOnce(storage, old, ShardedState(old, 2)));
    SaveRun run(storage, state, ShardedState(state, 2));
    DCP_CHECK_OK(run.Plan());
    CheckHolds(storage, old);
    DCP_CHECK_OK(run.Write());
    CheckHolds(storage, old);
    run.Abort();
    CheckHolds(storage, old);
  }
  SECTION("an error of the source is the writer's") {
    const State old = SmallState(16);
    const State state = SmallState(17);
    DCP_CHECK_OK(SaveOnce(storage, old, WholeState(old)));
    for (const char* fqn : {"step", "weight", "bias"}) {
      SaveRun run(storage, state, ShardedState(state, 2));
      run.source().FailAt(fqn);
      DCP_CHECK_OK(run.Plan());
      CHECK(run.Write().code() == absl::StatusCode::kUnimplemented);
      run.Abort();
      CheckHolds(storage, old);
    }
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    CheckHolds(storage, state);
  }
  SECTION("an error of the target is the reader's") {
    const State state = SmallState(18);
    DCP_CHECK_OK(SaveOnce(storage, state, WholeState(state)));
    for (const char* fqn : {"step", "weight"}) {
      const auto reader = storage.make_reader();
      std::vector<Wanted> wanted = AllOf(state);
      const auto index = reader->ReadIndex();
      REQUIRE(index.ok());
      DCP_CHECK_OK(reader->SetUp(*index, {}));
      const auto plan = PlanReads(index->metadata, wanted);
      REQUIRE(plan.ok());
      WantedTarget target(wanted);
      target.FailAt(fqn);
      CHECK(reader->ReadData(*plan, target).code() ==
            absl::StatusCode::kUnimplemented);
    }
  }
}

inline void CheckStorage(const StorageFactory& make) {
  const StorageUnderTest storage = make();
  CheckRoundTrips(storage);
  CheckReports(storage);
  CheckFailedSaves(storage);
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_STORAGE_CONFORMANCE_H_
