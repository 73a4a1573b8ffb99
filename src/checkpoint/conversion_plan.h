// ConversionPlan: what of one checkpoint becomes what of another.

#ifndef DCP_CHECKPOINT_CONVERSION_PLAN_H_
#define DCP_CHECKPOINT_CONVERSION_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/piece_reader.h"
#include "dcp/convert.h"
#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "dcp/storage.h"

namespace dcp {

/// How the data of an item is had.
enum class ConvertedKind : uint8_t {
  kStreamed,  ///< a whole tensor, bit by bit
  kPiece,     ///< a part of a tensor
  kEncoded,   ///< an object, or a tensor that only torch can decode
};

struct ConvertedItem {
  ConvertedKind kind = ConvertedKind::kEncoded;
  size_t tensor = 0;    ///< in ConversionPlan::tensors; not for objects
  MetadataIndex index;  ///< kEncoded: the stored item
};

struct ConversionPlan {
  /// WriteItem::source is a position in `items`.
  SavePlan save;
  std::vector<ConvertedItem> items;
  std::vector<SourceTensor> tensors;
  int64_t nbytes = 0;  ///< of all tensors, as they will be
};

/// Pieces of a tensor that a writer cannot stream, in bytes.
inline constexpr int64_t kPieceNbytes = int64_t{64} << 20;

/// SourceTensor::unit_nbytes of the tensor `fqn`, read as `dtype`: the rows of
/// its largest compressed chunk, which cannot be read in parts.
int64_t UnitNbytes(const Metadata& metadata, const std::string& fqn,
                   DType dtype);

/// Plans from the metadata alone, which outlives the plan. A tensor becomes one
/// chunk, or pieces where `writer` takes no streams.
/// \error kDataLoss  the chunks of a tensor overlap or leave gaps
/// \error kInvalidArgument  options.dtype is not a floating-point type
StatusOr<ConversionPlan> PlanConversion(const Metadata& metadata,
                                        const StorageWriter& writer,
                                        const ConvertOptions& options);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_CONVERSION_PLAN_H_
