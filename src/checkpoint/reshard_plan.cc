#include "checkpoint/reshard_plan.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "checkpoint/conversion_items.h"

namespace dcp {
namespace {

/// The parts of a tensor of `sizes`, which has a dimension, by rank: what
/// torch.chunk gives. Fewer than `rank_count` where rows are short; one of no
/// elements where there are none.
std::vector<Box> CutRows(const Dims& sizes, size_t rank_count) {
  const auto count = static_cast<int64_t>(rank_count);
  const int64_t rows = sizes[0];
  if (Numel(sizes) == 0) return {WholeBox(sizes)};
  const int64_t step = rows / count + (rows % count == 0 ? 0 : 1);
  std::vector<Box> parts;
  for (int64_t begin = 0; begin < rows; begin += step) {
    Box part = WholeBox(sizes);
    part.offsets[0] = begin;
    part.sizes[0] = std::min(step, rows - begin);
    parts.push_back(std::move(part));
  }
  return parts;
}

class ReshardPlanner {
 public:
  ReshardPlanner(const Metadata& metadata, size_t rank_count)
      : metadata_(metadata) {
    plan_.ranks.resize(rank_count);
    plan_.ranks[0].save.planner_data = metadata.planner_data;
  }

  StatusOr<ReshardPlan> Plan() && {
    for (const auto& [fqn, stored] : metadata_.entries()) {
      const auto* tensor = std::get_if<TensorStorageMetadata>(&stored);
      if (tensor != nullptr) {
        DCP_RETURN_IF_ERROR(AddTensor(fqn, *tensor));
      } else {
        DCP_RETURN_IF_ERROR(AddObject(metadata_, fqn, fqn, &plan_.ranks[0]));
        ++plan_.totals.objects;
      }
    }
    for (const ConversionPlan& rank : plan_.ranks) {
      plan_.totals.nbytes += rank.nbytes;
    }
    return std::move(plan_);
  }

 private:
  Status AddTensor(const std::string& fqn,
                   const TensorStorageMetadata& tensor) {
    ++plan_.totals.tensors;
    const DType dtype = tensor.properties.dtype;
    if (GetDTypeInfo(dtype).kind == DTypeKind::kQuantized) {
      return AddEncoded(fqn, tensor);
    }
    const int64_t unit_nbytes = UnitNbytes(metadata_, fqn, dtype);
    const auto add = [&](ConversionPlan& rank, const Box& part) {
      rank.tensors.push_back({.fqn = fqn,
                              .stored = &tensor,
                              .dtype = dtype,
                              .unit_nbytes = unit_nbytes,
                              .part = part});
      rank.nbytes += rank.tensors.back().nbytes();
      AddPart(fqn, part, ConvertedKind::kStreamed, &rank);
    };
    if (tensor.size.empty()) {
      add(NextInTurn(), WholeBox(tensor.size));
      return absl::OkStatus();
    }
    const std::vector<Box> parts = CutRows(tensor.size, plan_.ranks.size());
    for (size_t i = 0; i < parts.size(); ++i) add(plan_.ranks[i], parts[i]);
    return absl::OkStatus();
  }

  Status AddEncoded(const std::string& fqn,
                    const TensorStorageMetadata& tensor) {
    for (size_t i = 0; i < tensor.chunks.size(); ++i) {
      ConversionPlan& rank = NextInTurn();
      rank.tensors.push_back({.fqn = fqn,
                              .stored = &tensor,
                              .dtype = tensor.properties.dtype,
                              .is_encoded = true,
                              .part = tensor.chunks[i]});
      rank.nbytes += rank.tensors.back().nbytes();
      DCP_RETURN_IF_ERROR(AddEncodedChunk(metadata_, i, fqn, &rank));
    }
    return absl::OkStatus();
  }

  ConversionPlan& NextInTurn() {
    ConversionPlan& rank = plan_.ranks[turn_];
    turn_ = (turn_ + 1) % plan_.ranks.size();
    return rank;
  }

  const Metadata& metadata_;
  ReshardPlan plan_;
  size_t turn_ = 0;
};

}  // namespace

StatusOr<ReshardPlan> PlanReshard(const Metadata& metadata, size_t rank_count) {
  return ReshardPlanner(metadata, rank_count).Plan();
}

}  // namespace dcp
