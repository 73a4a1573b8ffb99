// Whatever boxes a tensor was saved in, any other boxes of it can be loaded.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/random_state.h"
#include "checkpoint/rank_threads.h"
#include "plan/plan_cases.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::State;
using conformance::Wanted;

/// Some parts of each tensor, for each rank.
std::vector<std::vector<Wanted>> RandomWishes(const State& state,
                                              Random* random) {
  std::vector<std::vector<Wanted>> wanted(
      static_cast<size_t>(random->Between(1, 4)));
  for (auto& mine : wanted) {
    for (const auto& [fqn, tensor] : state.tensors) {
      for (int64_t i = random->Between(0, 3); i > 0; --i) {
        mine.push_back({.fqn = fqn,
                        .box = random->PartOf(tensor.sizes),
                        .dtype = tensor.dtype});
      }
    }
    mine.push_back({.fqn = "step"});
  }
  return wanted;
}

void CheckReshard(uint64_t seed) {
  INFO("seed " << seed);
  Random random(seed);
  State state = RandomTensors(&random);
  state.objects["step"] = conformance::ObjectOf(random.Between(0, 1000));
  AllEntries entries(static_cast<size_t>(random.Between(1, 4)));
  for (const auto& [fqn, tensor] : state.tensors) {
    DealTensor(fqn, tensor, &random, &entries);
  }
  for (RankEntries& rank : entries) {
    rank.AddObject("step", state.objects.at("step"));
  }
  NativePlace place{.fs = MakeMemoryFileSystem()};
  place.writer.file_count = static_cast<int>(random.Between(1, 3));
  place.writer.single_file_per_rank = !random.OneIn(4);
  if (random.OneIn(4)) place.writer.compression = Compression::kZstd;
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  const auto storage = NativeStorage(place);
  RequireAllSucceed(SaveOnRanks(entries, storage,
                                {.split_nbytes = random.Between(0, 100000)}));
  if (random.OneIn(3) && place.writer.compression == Compression::kNone) {
    PutStockMetadata(*place.fs, ReadMetadata(*place.fs));
  }
  auto wanted = RandomWishes(state, &random);
  RequireAllSucceed(LoadOnRanks(wanted, storage));
  for (const auto& mine : wanted) CHECK(AllRight(state, mine));
}

TEST_CASE("any sharding can be loaded as any other", "[checkpoint][reshard]") {
  for (uint64_t seed = 1; seed <= 150; ++seed) CheckReshard(seed);
}

}  // namespace
}  // namespace dcp
