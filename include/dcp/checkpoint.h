// Save and Load: the whole of libdcp in two calls. Read this header first.
//
//   std::vector<dcp::SaveEntry> state = {
//       dcp::TensorEntry("model.weight", dcp::ContiguousView(...)),
//       dcp::ObjectEntry("step", dcp::ObjectValue(int64_t{100})),
//   };
//   dcp::StatusOr<dcp::SaveResult> saved = dcp::Save("/ckpt/step-100", state);
//
// Several ranks pass a Transport each; a shard carries the global shape and
// its place in it. PyTorch reads the result with
// torch.distributed.checkpoint.load, and Load reads what PyTorch wrote,
// whatever the sharding on either side.

#ifndef DCP_CHECKPOINT_H_
#define DCP_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/device_mesh.h"
#include "dcp/file_system.h"
#include "dcp/filesystem_storage.h"
#include "dcp/metadata.h"
#include "dcp/metadata_codec.h"
#include "dcp/object_value.h"
#include "dcp/plan.h"
#include "dcp/plan_cache.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/tensor_view.h"
#include "dcp/trace.h"
#include "dcp/transport.h"

namespace dcp {

/// A tensor, or the part of one that this rank holds.
struct TensorShard {
  TensorView view;
  Dims global_size;  ///< shape of the whole tensor
  Dims offsets;      ///< where `view` lies in it
  /// kTensor for a tensor that every rank holds whole, kShard for a shard.
  WriteItemType type = WriteItemType::kTensor;
  bool requires_grad = false;  ///< recorded, as torch does
  /// Set for tensors that libdcp cannot read itself (quantized ones): the item
  /// as torch.save made it; `view` then carries dtype and sizes only.
  std::optional<std::string_view> encoded;
  /// How the tensor lies over the ranks; null where that is not told. Ranks
  /// whose states consist of such shards (of type kShard, not encoded), tensors
  /// that are whole, and objects plan a save by what they have in common, and
  /// send no lists of what each of them has. See LaidOutEntry.
  std::shared_ptr<const MeshLayout> layout;
};

/// Bytes in memory that `owner` keeps alive and unchanged.
struct OwnedView {
  std::string_view view;
  std::shared_ptr<const void> owner;
};

/// An object that is not a tensor, as torch.save made it (see EncodeObject).
struct SerializedObject {
  /// A view spares the copy of an object that somebody else holds.
  std::variant<std::string, OwnedView> bytes;

  std::string_view view() const;
};

/// One leaf of the state to save.
struct SaveEntry {
  std::string fqn;  ///< flat key, e.g. "optim.state.layer.weight.exp_avg"
  std::variant<TensorShard, SerializedObject> value;
  /// Path in the nested state dict; empty: top-level key `fqn`.
  ObjectPath path;
};

SaveEntry TensorEntry(std::string fqn, TensorView view);
SaveEntry ShardEntry(std::string fqn, TensorView view, Dims global_size,
                     Dims offsets);
/// The chunk that this rank has of a tensor which lies over ranks as `layout`
/// says: what it is follows from that, and `view` must be of its sizes. A view
/// of others is an error, not a tensor to be planned in another way: the ranks
/// that were told the same would count on a chunk that nobody has.
/// \error kInvalidArgument  names the key, and the rank and both shapes where
///     they differ; see also ChunkOf
StatusOr<SaveEntry> LaidOutEntry(std::string fqn, TensorView view,
                                 Dims global_size,
                                 std::shared_ptr<const MeshLayout> layout);
/// \error kInvalidArgument  see EncodeObject
StatusOr<SaveEntry> ObjectEntry(std::string fqn, const ObjectValue& value);

struct SaveOptions {
  /// torch DefaultSavePlanner(dedup_save_to_lowest_rank=).
  bool dedup_to_lowest_rank = false;
  /// Replicated chunks above this many bytes are shared between their holders.
  int64_t split_nbytes = int64_t{32} << 20;
  /// Whether planner_data (the paths) is written: torch's flatten_state_dict.
  bool record_paths = true;
  bool use_collectives = true;
  /// Learns what this rank did when; may be null.
  std::shared_ptr<Trace> trace;
  /// What this rank remembers from save to save; null: nothing. Of the ranks
  /// some may have none.
  std::shared_ptr<PlanCache> plan_cache;
};

/// The metadata that a save published, as the bytes of a `.metadata` file: few
/// callers look at it, and it is large at scale.
struct SaveResult {
  std::string metadata_pickle;

  StatusOr<Metadata> metadata() const { return ParseMetadata(metadata_pickle); }
};

/// Saves `entries`, a list per rank, as one checkpoint. Collective over
/// `transport`. All ranks succeed and get the published metadata, or all fail
/// and get the same failures (GetRankFailures); then nothing was published and
/// the checkpoint that was there before is whole.
///
/// A rank that could not make its entries passes its error in their place, so
/// that the others learn of it instead of waiting.
///
/// An error without RankFailures is this rank's alone: it has left the save
/// (kCancelled, an error of the transport, a message that it cannot read), and
/// its transport is to be destroyed, which is how the others learn of it.
StatusOr<SaveResult> Save(const StatusOr<std::span<const SaveEntry>>& entries,
                          StorageWriter& writer, Transport& transport,
                          const SaveOptions& options);

/// One process, native format, defaults: see FileSystemWriterOptions.
StatusOr<SaveResult> Save(const std::string& path,
                          std::span<const SaveEntry> entries);

/// A tensor, or the part of one that this rank wants.
struct TensorDestination {
  TensorView view;   ///< filled in place; any strides, dtype, device
  Dims global_size;  ///< must equal the stored shape
  Dims offsets;      ///< where `view` lies in it
};

/// An object to fetch.
struct ObjectDestination {};

struct LoadEntry {
  std::string fqn;
  std::variant<TensorDestination, ObjectDestination> value;
};

LoadEntry TensorLoad(std::string fqn, TensorView view);
LoadEntry ShardLoad(std::string fqn, TensorView view, Dims global_size,
                    Dims offsets);
LoadEntry ObjectLoad(std::string fqn);

/// A stored dtype that was converted on the way.
struct DTypeCast {
  std::string fqn;
  DType stored = DType::kFloat32;
  DType loaded = DType::kFloat32;
  bool lossy = false;
};

/// An object, or a tensor that only torch can decode, as torch.save made it.
struct LoadedObject {
  int64_t entry = 0;  ///< position in the caller's entries
  std::string bytes;
  /// Set for tensors: the box of the entry's view that the bytes fill, and
  /// the box of the decoded tensor to take it from.
  std::optional<Box> destination_box;
  std::optional<Box> source_box;
};

struct LoadResult {
  std::vector<LoadedObject> objects;
  std::vector<std::string> missing;     ///< asked for, not in the checkpoint
  std::vector<std::string> unexpected;  ///< in the checkpoint, not asked for
  std::vector<DTypeCast> casts;
  int64_t nbytes_read = 0;  ///< from storage, on this rank, if known
};

struct LoadOptions {
  /// Keys that the checkpoint lacks are left alone instead of an error.
  bool allow_partial_load = false;
  /// What several ranks of a host need of a checkpoint in the native format is
  /// read by one of them, and the others copy it from its memory, where that
  /// saves reading. Ranks for which it is false read by themselves.
  bool pool_reads = true;
};

/// What a rank wants, once it knows what there is.
///
/// Called on every rank between reading the metadata and reading data, so that
/// a caller may derive its entries from the metadata (torch's 2.3 key rule, a
/// template built from the checkpoint). A load that starts again, because the
/// checkpoint was replaced meanwhile, calls both methods again.
class LoadRequest {
 public:
  virtual ~LoadRequest() = default;
  /// `metadata` have the keys, paths, shapes and dtypes of the checkpoint. Of
  /// one with indexed metadata, tensors have no chunks here and items no
  /// places: each rank then reads those of the entries that it asks for.
  virtual StatusOr<std::vector<LoadEntry>> MakeEntries(
      const Metadata& metadata) = 0;

  /// Takes what was read, on every rank that could read, before the ranks learn
  /// whether all could: for steps that may fail, such as decoding objects. An
  /// error fails the load on all ranks. May move from `result`.
  virtual Status Accept(LoadResult& result) {
    static_cast<void>(result);
    return absl::OkStatus();
  }
};

/// Fills entries from a checkpoint, resharding as needed. Collective over
/// `transport`: all ranks succeed or all fail with the same failures.
///
/// Nothing is written to a destination before all ranks have planned without
/// an error. After an error while reading, destinations hold a mix.
///
/// If files turn out to be gone or damaged because another save has replaced
/// the checkpoint since its metadata was read, all ranks start again with the
/// new one, once. (Not where every rank has metadata of its own.)
/// \error kFailedPrecondition  "Missing key in checkpoint state_dict: ..."
/// \error kInvalidArgument     shapes or kinds differ
/// \error kDataLoss            the checkpoint is damaged or has gaps
StatusOr<LoadResult> Load(LoadRequest& request, StorageReader& reader,
                          Transport& transport, const LoadOptions& options);

/// One process, native format, defaults.
StatusOr<LoadResult> Load(const std::string& path,
                          std::span<const LoadEntry> entries);

/// The value of an object that C++ can decode (numbers, strings, lists, ...).
/// \error kUnimplemented  it holds other Python objects
StatusOr<ObjectValue> DecodeObject(std::string_view bytes);
/// `value` as torch.save makes it.
/// \error kInvalidArgument  a string that is not UTF-8, or too deep a nesting
StatusOr<std::string> EncodeObject(const ObjectValue& value);

struct InspectOptions {
  /// Opens what this rank saved for itself (use_collectives=False), instead of
  /// what all ranks saved together.
  std::optional<int> rank;
};

/// A checkpoint opened for inspection: no template, no other ranks.
///
/// It keeps its data files open, if they are at most 64: a save that replaces
/// the checkpoint changes nothing for it. Of more files, what was not open when
/// they went is reported as kNotFound; open it again.
///
/// One thread at a time.
class Checkpoint {
 public:
  /// \error kNotFound  there is no such metadata; says which ranks have some
  static StatusOr<std::unique_ptr<Checkpoint>> Open(
      const std::string& path, const InspectOptions& options = {});
  static StatusOr<std::unique_ptr<Checkpoint>> Open(
      std::unique_ptr<StorageReader> reader,
      const InspectOptions& options = {});

  const Metadata& metadata() const { return index_.metadata; }

  /// Reads `box` of tensor `fqn` into `destination` (sizes of the box).
  /// \error kNotFound  no such tensor
  Status ReadTensor(std::string_view fqn, const Box& box,
                    const TensorView& destination);
  /// The bytes of an object, as torch.save made them.
  StatusOr<std::string> ReadObject(std::string_view fqn);
  /// Several at once: see Load. `unexpected` lists all keys not asked for.
  StatusOr<LoadResult> Read(std::span<const LoadEntry> entries);

 private:
  explicit Checkpoint(std::unique_ptr<StorageReader> reader)
      : reader_(std::move(reader)) {}

  /// Whether the data files are there, and held open.
  StatusOr<bool> TryOpen(const InspectOptions& options);

  std::unique_ptr<StorageReader> reader_;
  CheckpointIndex index_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_H_
