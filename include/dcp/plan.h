// Plans: which rank writes or reads which item. Pure data and pure functions.
//
// A local plan lists what one rank holds. The global plan, made by the
// coordinator from all local plans, gives every item exactly one writer.
// Names follow torch.distributed.checkpoint.planner (torch 2.13).

#ifndef DCP_PLAN_H_
#define DCP_PLAN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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
  /// Payload bytes that this item adds to the checkpoint: the chunk's elements,
  /// or for kByteIo, and tensors that are stored encoded, the length of what is
  /// stored.
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
  /// Tensors that are other names of one, its memory in its shape -> that one.
  /// Empty where it does not matter (StorageWriter::StoresTiesOnce).
  std::map<std::string, std::string> ties;
  bool operator==(const SavePlan&) const = default;
};

struct GlobalPlanOptions {
  /// Every replicated item goes to the lowest rank that holds it (torch's
  /// dedup_save_to_lowest_rank); nothing is balanced or split.
  bool dedup_to_lowest_rank = false;
  /// Replicated chunks larger than this are split along dim 0 between the
  /// ranks that hold them, into at most one piece a rank of at least about half
  /// as many bytes. 0 never splits.
  int64_t split_nbytes = int64_t{32} << 20;
  /// Whether the chunks of every tensor must cover it. Off when the plan is of
  /// one rank alone (torch's rule).
  bool require_full_coverage = true;
};

struct GlobalPlan {
  /// One per rank, without planner_data, with its ties. Items come in the order
  /// of the rank's local plan and keep their `source` there; one that is split
  /// becomes a kShard item with the box of its piece.
  std::vector<SavePlan> plans;
  /// Without storage_data, which the writer's results fill. Entries come in the
  /// order in which keys first appear, by rank; the chunks of a tensor in the
  /// order of `plans`, as in torch. planner_data is the union of the ranks', of
  /// which the lowest wins.
  Metadata metadata;
};

/// Deduplicates, splits, balances and validates.
///
/// Every distinct (fqn, chunk) gets exactly one writer among the ranks that
/// hold it. Loads are balanced by bytes written, ties go to the lowest rank;
/// the largest load is never above what torch's dedup_save_plans makes of the
/// same plans. Deterministic.
///
/// Of properties that no loader needs to agree (requires_grad, memory format,
/// pinning), and of a plain tensor and a shard that is all of it, the lowest
/// rank's is recorded.
/// \error kInvalidArgument  ranks disagree about a key (tensor or object,
/// dtype,
///     layout, global size, or chunks of several sizes at one offset); a rank
///     lists a key twice; chunks out of bounds, overlapping, or with gaps. The
///     message names the key and the ranks.
StatusOr<GlobalPlan> CreateGlobalSavePlan(std::span<const SavePlan> local,
                                          const GlobalPlanOptions& options);
/// As above, at half the memory: items move from `local` into the result.
StatusOr<GlobalPlan> CreateGlobalSavePlan(std::vector<SavePlan>&& local,
                                          const GlobalPlanOptions& options);

/// Whether chunks must cover all of their tensor.
enum class CoverageRule : uint8_t { kAllowGaps, kRequireFull };

/// Checks bounds, overlaps and, if asked, coverage of every tensor of
/// `metadata`. Chunks of no elements may lie anywhere.
///
/// O(n log n) in the chunks for every layout a device mesh makes, and
/// O(n log^d n) for any other, where d is the number of dimensions in which
/// chunks differ. A 0-d tensor has exactly one chunk.
/// \error kInvalidArgument  names up to 10 bad keys and their chunks.
Status ValidateChunks(const Metadata& metadata, CoverageRule coverage);

/// A plan in a compact binary form, for sending between ranks: 23 bytes an
/// item, its key included, for the sharded state of a 70B model. Equal plans
/// have equal bytes.
std::string SerializeSavePlan(const SavePlan& plan);
/// \error kDataLoss  truncated or malformed
/// \error kFailedPrecondition  written by a version that this one cannot read
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

/// The stored chunks of one tensor, ordered for intersection queries.
///
/// Immutable; keeps a reference to `tensor`. Making one is O(n) where the
/// chunks come in the order of their offsets, as ranks write them; a query
/// looks at the chunks that meet the box in the dimension that is cut finest.
class ChunkFinder {
 public:
  explicit ChunkFinder(const TensorStorageMetadata& tensor);
  /// Positions in `tensor.chunks` that intersect `box`, ascending.
  std::vector<size_t> FindIntersecting(const Box& box) const;

 private:
  const Box& At(size_t place) const;
  void FindIn(size_t begin, size_t end, const Box& box,
              std::vector<size_t>* found) const;

  const TensorStorageMetadata& tensor_;
  int sweep_dim_ = 0;
  std::vector<uint32_t> order_;    // by offset in sweep_dim_; empty: as stored
  std::vector<int64_t> max_ends_;  // prefix maximum of ends in that order
};

/// Appends to `plan` what fills `destination_box` of the global tensor `fqn`:
/// an item for each stored chunk that intersects it, none for an empty box.
///
/// `finder` is of `tensor`, whose chunks do not overlap (ValidateChunks).
/// \error kDataLoss  the stored chunks leave a gap in the box; the message
///     names the key and the box.
Status AppendReadItems(std::string_view fqn, const ChunkFinder& finder,
                       const TensorStorageMetadata& tensor,
                       const Box& destination_box, int64_t destination,
                       LoadPlan* plan);

}  // namespace dcp

#endif  // DCP_PLAN_H_
