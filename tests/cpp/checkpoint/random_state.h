// States of random tensors, dealt to ranks in random boxes.

#ifndef DCP_TESTS_CHECKPOINT_RANDOM_STATE_H_
#define DCP_TESTS_CHECKPOINT_RANDOM_STATE_H_

#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "conformance/storage_conformance.h"
#include "plan/plan_cases.h"

namespace dcp {

/// Gives each rank's entries some boxes of `tensor`: they cover it, and some
/// are held by several ranks.
inline void DealTensor(const std::string& fqn,
                       const conformance::StateTensor& tensor, Random* random,
                       AllEntries* entries) {
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

/// Tensors of several dtypes, of few elements or, some, of more than a block.
inline conformance::State RandomTensors(Random* random) {
  conformance::State state;
  for (int64_t i = random->Between(1, 8); i > 0; --i) {
    const DType dtype =
        random->Pick({DType::kFloat32, DType::kBFloat16, DType::kInt64,
                      DType::kUInt8, DType::kComplex64, DType::kBool});
    const bool large = random->OneIn(3);
    const Dims sizes =
        large ? Dims{random->Between(500, 1500), random->Between(300, 900)}
              : random->Sizes(4, 12);
    state.tensors["t" + std::to_string(i)] =
        conformance::RandomTensor(random->engine(), dtype, sizes);
  }
  return state;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_RANDOM_STATE_H_
