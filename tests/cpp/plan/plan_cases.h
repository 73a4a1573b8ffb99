// Random layouts and plans for the tests of the plan module.

#ifndef DCP_TESTS_PLAN_PLAN_CASES_H_
#define DCP_TESTS_PLAN_PLAN_CASES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor_cases.h"
#include "dcp/plan.h"

namespace dcp {

/// Boxes that cover a tensor of shape `sizes` without overlap: about `count`,
/// made by random cuts. Some are empty.
inline std::vector<Box> RandomPartition(Random* random, const Dims& sizes,
                                        int count) {
  std::vector<Box> boxes = {WholeBox(sizes)};
  for (int cut = 1; cut < count && !sizes.empty(); ++cut) {
    const auto which = static_cast<size_t>(
        random->Between(0, static_cast<int64_t>(boxes.size()) - 1));
    const int dim = static_cast<int>(random->Between(0, sizes.size() - 1));
    Box& low = boxes[which];
    Box high = low;
    const int64_t kept = random->Between(random->OneIn(10) ? 0 : 1,
                                         std::max<int64_t>(low.sizes[dim], 1));
    if (kept > low.sizes[dim]) continue;
    low.sizes[dim] = kept;
    high.offsets[dim] += kept;
    high.sizes[dim] -= kept;
    boxes.push_back(high);
  }
  // A box that begins where another does must be all that does: offsets are
  // keys. Only empty boxes can break that.
  std::vector<Box> unique;
  for (bool take_empty : {false, true}) {
    for (const Box& box : boxes) {
      if ((box.numel() == 0) != take_empty) continue;
      const bool taken = std::any_of(
          unique.begin(), unique.end(),
          [&](const Box& other) { return other.offsets == box.offsets; });
      if (!taken) unique.push_back(box);
    }
  }
  std::shuffle(unique.begin(), unique.end(), random->engine);
  return unique;
}

/// The chunks of a tensor of shape rows * columns, cut into tiles.
inline std::vector<Box> GridChunks(const Dims& sizes, const Dims& tile) {
  std::vector<Box> chunks;
  for (int64_t row = 0; row < sizes[0]; row += tile[0]) {
    for (int64_t column = 0; column < sizes[1]; column += tile[1]) {
      chunks.push_back({.offsets = {row, column},
                        .sizes = {std::min(tile[0], sizes[0] - row),
                                  std::min(tile[1], sizes[1] - column)}});
    }
  }
  return chunks;
}

/// Rings around rings of four chunks each, which no straight cut separates.
inline std::vector<Box> SpiralChunks(int64_t rings) {
  std::vector<Box> chunks;
  const int64_t side = 2 * rings + 1;
  for (int64_t i = 0; i < rings; ++i) {
    const int64_t length = side - 2 * i - 1;
    const int64_t far = side - i - 1;
    chunks.push_back({.offsets = {i, i}, .sizes = {1, length}});
    chunks.push_back({.offsets = {i, far}, .sizes = {length, 1}});
    chunks.push_back({.offsets = {far, i + 1}, .sizes = {1, length}});
    chunks.push_back({.offsets = {i + 1, i}, .sizes = {length, 1}});
  }
  chunks.push_back({.offsets = {rings, rings}, .sizes = {1, 1}});
  return chunks;
}

/// Bars along each of three axes, past one another: gaps, and no cut.
inline std::vector<Box> LatticeChunks(int64_t side) {
  std::vector<Box> chunks;
  for (int64_t i = 0; i + 1 < side; i += 2) {
    for (int64_t j = 0; j + 1 < side; j += 2) {
      chunks.push_back({.offsets = {0, i + 1, j}, .sizes = {side, 1, 1}});
      chunks.push_back({.offsets = {j, 0, i + 1}, .sizes = {1, side, 1}});
      chunks.push_back({.offsets = {i + 1, j, 0}, .sizes = {1, 1, side}});
    }
  }
  return chunks;
}

/// Slabs cut off one after the other, in turn from each dimension.
inline std::vector<Box> StaircaseChunks(int64_t steps) {
  std::vector<Box> chunks;
  for (int64_t i = 0; i < steps; ++i) {
    chunks.push_back({.offsets = {i, i}, .sizes = {1, steps - i}});
    if (i + 1 < steps) {
      chunks.push_back({.offsets = {i + 1, i}, .sizes = {steps - i - 1, 1}});
    }
  }
  return chunks;
}

inline TensorStorageMetadata TensorOf(Dims size, std::vector<Box> chunks) {
  return {.size = std::move(size), .chunks = std::move(chunks)};
}

inline WriteItem TensorItem(std::string fqn, Dims global_size, Box chunk,
                            DType dtype = DType::kFloat32) {
  WriteItem item{.fqn = std::move(fqn),
                 .type = WriteItemType::kShard,
                 .chunk = std::move(chunk),
                 .global_size = std::move(global_size),
                 .properties = {.dtype = dtype}};
  item.nbytes = item.chunk.numel() * ItemSize(dtype);
  return item;
}

/// A tensor that a rank holds whole.
inline WriteItem WholeItem(std::string fqn, const Dims& size,
                           DType dtype = DType::kFloat32) {
  WriteItem item = TensorItem(std::move(fqn), size, WholeBox(size), dtype);
  item.type = WriteItemType::kTensor;
  return item;
}

inline WriteItem ObjectItem(std::string fqn, int64_t nbytes) {
  return {
      .fqn = std::move(fqn), .type = WriteItemType::kByteIo, .nbytes = nbytes};
}

/// Numbers `source` as a local planner does.
inline SavePlan PlanOf(std::vector<WriteItem> items) {
  SavePlan plan;
  plan.items = std::move(items);
  for (size_t i = 0; i < plan.items.size(); ++i) {
    plan.items[i].source = static_cast<int64_t>(i);
  }
  return plan;
}

/// Tensors and objects, each chunk held by some of the ranks.
inline std::vector<SavePlan> RandomJob(Random* random, size_t ranks) {
  std::vector<std::vector<WriteItem>> items(ranks);
  const auto hold = [&](const WriteItem& item) {
    const auto first = static_cast<size_t>(
        random->Between(0, static_cast<int64_t>(ranks) - 1));
    const int64_t how = random->Between(0, 2);  // one rank, some, all
    for (size_t rank = 0; rank < ranks; ++rank) {
      if (how == 2 || rank == first || (how == 1 && random->OneIn(3))) {
        items[rank].push_back(item);
      }
    }
  };
  for (int64_t key = random->Between(1, 15); key > 0; --key) {
    const std::string fqn = "key" + std::to_string(key);
    if (random->OneIn(5)) {
      hold(ObjectItem(fqn, random->Between(0, 5000)));
      continue;
    }
    const Dims size = random->Sizes(3, random->OneIn(3) ? 64 : 16);
    for (const Box& chunk : RandomPartition(
             random, size, static_cast<int>(random->Between(1, 12)))) {
      hold(TensorItem(fqn, size, chunk));
    }
  }
  std::vector<SavePlan> plans;
  for (auto& of_rank : items) plans.push_back(PlanOf(std::move(of_rank)));
  return plans;
}

}  // namespace dcp

#endif  // DCP_TESTS_PLAN_PLAN_CASES_H_
