// Plans: which rank writes or reads which item. Pure data and pure functions.
//
// A local plan lists what one rank holds. The global plan, made by the
// coordinator from all local plans, gives every item exactly one writer.
// Names follow torch.distributed.checkpoint.planner (torch 2.13).

#ifndef DCP_PLAN_H_
#define DCP_PLAN_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// torch WriteItemType.
enum class WriteItemType : uint8_t { kTensor = 1, kShard = 2, kByteIo = 3 };

/// One item that a rank holds or is to write.
struct WriteItem {
  std::string fqn;
  WriteItemType type = WriteItemType::kTensor;
  /// Region of the global tensor; empty Dims for kByteIo.
  Box chunk;
  Dims global_size;             ///< empty for kByteIo
  TensorProperties properties;  ///< dtype as stored (after an export cast)
  /// Payload bytes that this item adds to the checkpoint. For kByteIo the
  /// length of the serialized object.
  int64_t nbytes = 0;
  /// Position of the item in its rank's *local* plan: how a rank finds the
  /// data again after the global plan came back.
  int64_t source = 0;

  MetadataIndex index() const;
  bool operator==(const WriteItem&) const = default;
};

/// What one rank has (local) or is to write (global).
struct SavePlan {
  std::vector<WriteItem> items;
  /// Flat key -> path, as in Metadata::planner_data; nullopt if the state dict
  /// was not flattened.
  std::optional<std::unordered_map<std::string, ObjectPath>> planner_data;
  bool operator==(const SavePlan&) const = default;
};

struct GlobalPlanOptions {
  /// Every replicated item goes to the lowest rank that holds it (torch's
  /// dedup_save_to_lowest_rank); nothing is balanced or split.
  bool dedup_to_lowest_rank = false;
  /// Replicated chunks larger than this are split along dim 0 between the
  /// ranks that hold them. 0 never splits.
  int64_t split_nbytes = int64_t{32} << 20;
  /// Whether the chunks of every tensor must cover it. Off when the plan is of
  /// one rank alone (torch's rule).
  bool require_full_coverage = true;
};

struct GlobalPlan {
  /// One per rank; items keep `source` of that rank's local plan.
  std::vector<SavePlan> plans;
  /// Without storage_data, which the writer's results fill.
  Metadata metadata;
};

/// Deduplicates, splits, balances and validates.
///
/// Every distinct (fqn, chunk) gets exactly one writer among the ranks that
/// hold it. Loads are balanced by bytes written. Deterministic.
/// \error kInvalidArgument  ranks disagree about a key (kind, dtype, global
///     size); chunks out of bounds, overlapping, or with gaps. The message
///     names the key and the ranks.
StatusOr<GlobalPlan> CreateGlobalSavePlan(std::span<const SavePlan> local,
                                          const GlobalPlanOptions& options);

/// Checks bounds, overlaps and, if asked, full coverage of every tensor of
/// `metadata`: O(n log n) in the chunks for every layout a device mesh makes.
/// \error kInvalidArgument  names up to 10 bad keys and their chunks.
Status ValidateChunks(const Metadata& metadata, bool require_full_coverage);

/// Compact binary forms, for sending between ranks.
std::string SerializeSavePlan(const SavePlan& plan);
StatusOr<SavePlan> ParseSavePlan(std::string_view data);

/// torch LoadItemType.
enum class LoadItemType : uint8_t { kTensor = 1, kByteIo = 2 };

/// A box to copy from one stored chunk into one destination chunk.
struct ReadItem {
  LoadItemType type = LoadItemType::kTensor;
  MetadataIndex dest_index;     ///< `offset` is the destination chunk's
  Dims dest_offsets;            ///< relative to the destination chunk
  MetadataIndex storage_index;  ///< `index` is the position in `chunks`
  Dims storage_offsets;         ///< relative to the stored chunk
  Dims lengths;
  /// Which of the caller's destinations this item fills.
  int64_t destination = 0;
  bool operator==(const ReadItem&) const = default;
};

struct LoadPlan {
  std::vector<ReadItem> items;
};

/// The stored chunks of one tensor, sorted for intersection queries.
///
/// Immutable; keeps a reference to `tensor`.
class ChunkFinder {
 public:
  explicit ChunkFinder(const TensorStorageMetadata& tensor);
  /// Positions in `tensor.chunks` that intersect `box`, ascending.
  std::vector<size_t> FindIntersecting(const Box& box) const;

 private:
  const TensorStorageMetadata& tensor_;
  int sweep_dim_ = 0;
  std::vector<size_t> order_;      // by offset in sweep_dim_
  std::vector<int64_t> max_ends_;  // prefix maximum of ends in that order
};

/// Appends to `plan` what fills `destination_box` of the global tensor `fqn`.
/// \error kDataLoss  the stored chunks leave a gap in the box; the message
///     names the key and the box.
Status AppendReadItems(std::string_view fqn, const ChunkFinder& finder,
                       const TensorStorageMetadata& tensor,
                       const Box& destination_box, int64_t destination,
                       LoadPlan* plan);

}  // namespace dcp

#endif  // DCP_PLAN_H_
