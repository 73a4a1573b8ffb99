// Whatever boxes a tensor was saved in, any other boxes of it can be loaded.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "plan/plan_cases.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::State;
using conformance::StateTensor;
using conformance::Wanted;

/// A tensor whose rank-to-box assignment is random: boxes that cover it, some
/// held by several ranks.
void DealTensor(const std::string& fqn, const StateTensor& tensor,
                Random* random, AllEntries* entries) {
  const auto ranks = static_cast<int64_t>(entries->size());
  const auto pieces = static_cast<int>(random->Between(1, 2 * ranks));
  for (const Box& box : RandomPartition(random, tensor.sizes, pieces)) {
    const auto owner = static_cast<size_t>(random->Between(0, ranks - 1));
    for (size_t rank = 0; rank < entries->size(); ++rank) {
      if (rank == owner || random->OneIn(5)) {
        (*entries)[rank].AddShard(fqn, tensor, box);
      }
    }
  }
}

State RandomState(Random* random) {
  State state;
  for (int64_t i = random->Between(1, 6); i > 0; --i) {
    const DType dtype =
        random->Pick({DType::kFloat32, DType::kBFloat16, DType::kInt64,
                      DType::kUInt8, DType::kComplex64});
    const bool large = random->OneIn(4);
    const Dims sizes =
        large ? Dims{random->Between(500, 900), random->Between(300, 500)}
              : random->Sizes(4, 12);
    state.tensors["t" + std::to_string(i)] =
        conformance::RandomTensor(random->engine(), dtype, sizes);
  }
  state.objects["step"] = conformance::ObjectOf(random->Between(0, 1000));
  return state;
}

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
  const State state = RandomState(&random);
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
