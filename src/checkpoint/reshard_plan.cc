#include "checkpoint/reshard_plan.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

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
      DCP_RETURN_IF_ERROR(tensor != nullptr ? AddTensor(fqn, *tensor)
                                            : AddObject(fqn));
    }
    for (const ConversionPlan& rank : plan_.ranks) {
      plan_.totals.nbytes += rank.nbytes;
    }
    return std::move(plan_);
  }

 private:
  StatusOr<const StorageInfo*> PlaceOf(const MetadataIndex& index) const {
    const auto place = metadata_.storage_data.find(index);
    if (place != metadata_.storage_data.end()) return &place->second;
    return DataLoss("the metadata lists " + ToString(index) +
                    " and does not say where it is stored");
  }

  Status AddObject(const std::string& fqn) {
    const MetadataIndex index{.fqn = fqn};
    DCP_ASSIGN_OR_RETURN(const StorageInfo* place, PlaceOf(index));
    Add(plan_.ranks[0], {.kind = ConvertedKind::kEncoded, .index = index},
        {.fqn = fqn, .type = WriteItemType::kByteIo, .nbytes = place->length});
    ++plan_.totals.objects;
    return absl::OkStatus();
  }

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
      const int64_t nbytes = rank.tensors.back().nbytes();
      rank.nbytes += nbytes;
      AddPart(rank, ConvertedKind::kStreamed, part, nbytes);
    };
    if (tensor.size.empty()) {
      add(NextInTurn(), WholeBox(tensor.size));
      return absl::OkStatus();
    }
    const std::vector<Box> parts = CutRows(tensor.size, plan_.ranks.size());
    for (size_t i = 0; i < parts.size(); ++i) add(plan_.ranks[i], parts[i]);
    return absl::OkStatus();
  }

  /// Only torch can cut such a tensor: chunk by chunk, as it is.
  Status AddEncoded(const std::string& fqn,
                    const TensorStorageMetadata& tensor) {
    for (size_t i = 0; i < tensor.chunks.size(); ++i) {
      const Box& chunk = tensor.chunks[i];
      const MetadataIndex index{.fqn = fqn,
                                .offset = chunk.offsets,
                                .index = static_cast<int64_t>(i)};
      DCP_ASSIGN_OR_RETURN(const StorageInfo* place, PlaceOf(index));
      ConversionPlan& rank = NextInTurn();
      rank.tensors.push_back({.fqn = fqn,
                              .stored = &tensor,
                              .dtype = tensor.properties.dtype,
                              .is_encoded = true,
                              .part = chunk});
      AddPart(rank, ConvertedKind::kEncoded, chunk, place->length);
      rank.items.back().index = index;
      rank.nbytes += rank.tensors.back().nbytes();
    }
    return absl::OkStatus();
  }

  /// An item that is `part` of the rank's last tensor.
  static void AddPart(ConversionPlan& rank, ConvertedKind kind, const Box& part,
                      int64_t nbytes) {
    const SourceTensor& tensor = rank.tensors.back();
    const bool is_whole = part == WholeBox(tensor.stored->size);
    Add(rank, {.kind = kind, .tensor = rank.tensors.size() - 1},
        {.fqn = std::string(tensor.fqn),
         .type = is_whole ? WriteItemType::kTensor : WriteItemType::kShard,
         .chunk = part,
         .global_size = tensor.stored->size,
         .properties = {.dtype = tensor.dtype,
                        .requires_grad =
                            tensor.stored->properties.requires_grad},
         .nbytes = nbytes});
  }

  static void Add(ConversionPlan& rank, ConvertedItem converted,
                  WriteItem item) {
    item.source = static_cast<int64_t>(rank.items.size());
    rank.items.push_back(std::move(converted));
    rank.save.items.push_back(std::move(item));
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
