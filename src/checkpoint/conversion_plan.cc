#include "checkpoint/conversion_plan.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/cast.h"
#include "checkpoint/conversion_items.h"
#include "checkpoint/tensor_pieces.h"

namespace dcp {
namespace {

class ConversionPlanner {
 public:
  ConversionPlanner(const Metadata& metadata, const StorageWriter& writer,
                    const ConvertOptions& options)
      : metadata_(metadata), writer_(writer), options_(options) {}

  StatusOr<ConversionPlan> Plan() && {
    plan_.tensors.reserve(metadata_.entries().size());
    for (const auto& [fqn, stored] : metadata_.entries()) {
      DCP_ASSIGN_OR_RETURN(const bool is_wanted, Name(fqn));
      if (!is_wanted) continue;
      if (const auto* tensor = std::get_if<TensorStorageMetadata>(&stored)) {
        DCP_RETURN_IF_ERROR(AddTensor(fqn, *tensor));
      } else {
        DCP_RETURN_IF_ERROR(AddObject(metadata_, fqn, name_, &plan_));
      }
    }
    if (paths_.empty() && !metadata_.entries().empty()) {
      return InvalidArgument(
          "none of the " + std::to_string(metadata_.entries().size()) +
          " keys of the source (" + metadata_.entries()[0].first +
          ", ...) is selected");
    }
    plan_.save.planner_data = std::move(paths_);
    return std::move(plan_);
  }

 private:
  /// Sets name_; false if the key is left out.
  StatusOr<bool> Name(const std::string& fqn) {
    name_ = fqn;
    if (options_.rename) {
      DCP_ASSIGN_OR_RETURN(std::optional<std::string> name,
                           options_.rename(fqn));
      if (!name) return false;
      name_ = *std::move(name);
    }
    const bool is_new =
        paths_.emplace(name_, name_ == fqn ? PathOf(fqn) : ObjectPath{name_})
            .second;
    if (is_new) return true;
    return WithDetail(
        InvalidArgument("two keys of the source would be called " + name_ +
                        ", one of them " + fqn),
        {.fqn = fqn});
  }

  ObjectPath PathOf(const std::string& fqn) const {
    if (metadata_.planner_data) {
      const auto path = metadata_.planner_data->find(fqn);
      if (path != metadata_.planner_data->end() && !path->second.empty()) {
        return path->second;
      }
    }
    return {fqn};
  }

  Status AddTensor(const std::string& fqn,
                   const TensorStorageMetadata& tensor) {
    const bool is_quantized =
        GetDTypeInfo(tensor.properties.dtype).kind == DTypeKind::kQuantized;
    plan_.tensors.push_back({.fqn = fqn,
                             .stored = &tensor,
                             .dtype = DTypeOf(tensor.properties.dtype),
                             .unit_nbytes = UnitOf(fqn, tensor),
                             .is_encoded = is_quantized});
    if (!CanCast(tensor.properties.dtype, plan_.tensors.back().dtype)) {
      return InvalidArgument(
          "cannot convert " + fqn + ", stored as " +
          std::string(DTypeName(tensor.properties.dtype)) + ", to " +
          std::string(DTypeName(plan_.tensors.back().dtype)));
    }
    plan_.nbytes += plan_.tensors.back().nbytes();
    if (is_quantized) return AddEncoded(tensor);
    if (writer_.TakesStreams()) {
      AddPart(name_, WholeBox(tensor.size), ConvertedKind::kStreamed, &plan_);
      return absl::OkStatus();
    }
    const std::vector<Box> pieces =
        CutIntoPieces(tensor.size, ItemSize(plan_.tensors.back().dtype),
                      std::max(kPieceNbytes, UnitOf(fqn, tensor)));
    for (const Box& piece : pieces) {
      AddPart(name_, piece, ConvertedKind::kPiece, &plan_);
    }
    return absl::OkStatus();
  }

  Status AddEncoded(const TensorStorageMetadata& tensor) {
    for (size_t i = 0; i < tensor.chunks.size(); ++i) {
      DCP_RETURN_IF_ERROR(AddEncodedChunk(metadata_, i, name_, &plan_));
    }
    return absl::OkStatus();
  }

  DType DTypeOf(DType stored) const {
    const bool is_float = GetDTypeInfo(stored).kind == DTypeKind::kFloat;
    return writer_.StoredDType(is_float ? options_.dtype.value_or(stored)
                                        : stored);
  }

  int64_t UnitOf(const std::string& fqn,
                 const TensorStorageMetadata& tensor) const {
    return UnitNbytes(metadata_, fqn, DTypeOf(tensor.properties.dtype));
  }

  const Metadata& metadata_;
  const StorageWriter& writer_;
  const ConvertOptions& options_;
  std::string name_;  // in the destination, of the key at hand
  std::unordered_map<std::string, ObjectPath> paths_;  // by such names
  ConversionPlan plan_;
};

}  // namespace

int64_t UnitNbytes(const Metadata& metadata, const std::string& fqn,
                   DType dtype) {
  const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
  if (tensor == nullptr || tensor->size.empty() || Numel(tensor->size) == 0) {
    return 0;
  }
  const int64_t row_nbytes =
      Numel(tensor->size) / tensor->size[0] * ItemSize(dtype);
  int64_t unit = 0;
  for (const Box& chunk : tensor->chunks) {
    const auto place =
        metadata.storage_data.find({.fqn = fqn, .offset = chunk.offsets});
    if (place == metadata.storage_data.end() ||
        place->second.transform_descriptors.empty()) {
      continue;
    }
    unit = std::max(unit, chunk.sizes[0] * row_nbytes);
  }
  return unit;
}

StatusOr<ConversionPlan> PlanConversion(const Metadata& metadata,
                                        const StorageWriter& writer,
                                        const ConvertOptions& options) {
  if (options.dtype && GetDTypeInfo(*options.dtype).kind != DTypeKind::kFloat) {
    return InvalidArgument(
        "tensors are converted to a floating-point dtype, "
        "not to " +
        std::string(DTypeName(*options.dtype)));
  }
  const Status valid = ValidateChunks(metadata, CoverageRule::kRequireFull);
  if (!valid.ok()) return DataLoss(Message(valid));
  return ConversionPlanner(metadata, writer, options).Plan();
}

}  // namespace dcp
