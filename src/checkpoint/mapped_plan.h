// The plan of a save whose tensors a mapping turns into others. Pure.

#ifndef DCP_CHECKPOINT_MAPPED_PLAN_H_
#define DCP_CHECKPOINT_MAPPED_PLAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dtype.h"
#include "dcp/mapping.h"
#include "dcp/plan.h"
#include "dcp/status.h"

namespace dcp {

/// Where the elements of an item of the mapped plan are.
struct MappedPiece {
  /// WriteItem::source of the item that has them, in its rank's own plan.
  int64_t source = 0;
  /// Its box is that of the mapped item; the rest is about the other's.
  MappedRead read;
};

/// What one rank writes: items[i] comes from pieces[i], and its source is i.
struct MappedShare {
  SavePlan plan;
  std::vector<MappedPiece> pieces;
};

struct MappedPlan {
  std::vector<MappedShare> shares;  ///< by rank
  Metadata metadata;                ///< as GlobalPlan::metadata
};

/// What `mapping` makes of `native`, with the same ranks: who writes elements
/// writes them as what they become. `stored_dtype` gives the dtype that a
/// mapped one is stored in (StorageWriter::StoredDType). \error
/// kInvalidArgument  see Mapping::Plan; or nothing comes of it
StatusOr<MappedPlan> MapPlan(const GlobalPlan& native,
                             const ModelMapping& mapping,
                             const std::function<DType(DType)>& stored_dtype);

std::string SerializeMappedShare(const MappedShare& share);
/// \error kDataLoss  not what SerializeMappedShare wrote
StatusOr<MappedShare> ParseMappedShare(std::string_view data);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_MAPPED_PLAN_H_
