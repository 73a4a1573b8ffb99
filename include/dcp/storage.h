// StorageWriter and StorageReader: where a checkpoint's bytes go.
//
// The calls mirror torch.distributed.checkpoint.storage (torch 2.13), so that
// one implementation serves libdcp's own Save and Load and torch's protocol.
// A third party adds a storage by deriving from these two classes;
// examples/cpp/archive_storage shows one, and
// tests/cpp/conformance/storage_conformance.h checks any.

#ifndef DCP_STORAGE_H_
#define DCP_STORAGE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"
#include "dcp/trace.h"

namespace dcp {

/// The payload of an item: a tensor (the chunk itself, its sizes are the
/// chunk's), or a finished item as torch.save made it.
using WritePayload = std::variant<TensorView, std::string_view>;

/// Tensors whose elements are fetched or made while they are written.
/// Thread-safe.
class WriteStream {
 public:
  virtual ~WriteStream() = default;
  /// Fills `out` with the bytes from `byte_begin` on of the tensor that `item`
  /// is, row-major and in the dtype of item.properties. Waits until they are
  /// there.
  ///
  /// Every byte is asked for once; items in the order of their plan and bytes
  /// in ascending order, give or take what a few threads ask for at once.
  virtual Status Read(const WriteItem& item, int64_t byte_begin,
                      std::span<std::byte> out) = 0;
  /// Has every Read that waits, and all later ones, return an error.
  virtual void Cancel() = 0;
};

/// Gives a writer the data of its items. Thread-safe.
class WriteSource {
 public:
  virtual ~WriteSource() = default;
  /// The payload stays valid until Release or until WriteData returns.
  virtual StatusOr<WritePayload> Resolve(const WriteItem& item) = 0;

  /// Set for an item that does not lie in memory as a whole: a writer that
  /// TakesStreams reads it there, bit by bit, and does not resolve it. Other
  /// writers are not given such items.
  virtual WriteStream* StreamOf(const WriteItem& item) {
    static_cast<void>(item);
    return nullptr;
  }

  /// Planned bytes that may be resolved at once, for sources that make their
  /// payloads on demand.
  virtual int64_t max_resolved_nbytes() const {
    return std::numeric_limits<int64_t>::max();
  }
  /// What was resolved so far has been written.
  virtual void Release() {}

  /// A writer that resolves items long before it reads them says so first:
  /// payloads in device memory then come at once, and it calls AwaitRead.
  virtual void ReadLater() {}
  /// Returns when the next `nbytes` of device memory may be read, after
  /// ReadLater: a rate may hold them back.
  virtual Status AwaitRead(int64_t nbytes) {
    static_cast<void>(nbytes);
    return absl::OkStatus();
  }

  /// Whether `item` should be written together with what was resolved since the
  /// last Release. If not, a writer does well to write that first, call
  /// Release, and go on with `item`: for sources whose data comes bit by bit.
  virtual bool JoinsBatch(const WriteItem& item) {
    static_cast<void>(item);
    return true;
  }

  /// A writer asks for it now and then, in the thread that called WriteData:
  /// an error ends the writing, and WriteData returns it.
  virtual Status Proceed() { return absl::OkStatus(); }

  /// Where a writer may tell what it does; null: nobody wants to know.
  virtual std::shared_ptr<Trace> trace() const { return nullptr; }
};

/// Where one item went: torch WriteResult.
struct WriteResult {
  MetadataIndex index;
  int64_t size_in_bytes = 0;
  StorageInfo storage_info;
};

/// What one rank's WriteData did.
struct WriteOutcome {
  std::vector<WriteResult> results;
  /// The storage's own notes for Finish (block checksums, ...).
  std::string storage_data;
};

struct StorageRole {
  int rank = 0;
  int world_size = 1;
  bool is_coordinator = true;
  /// False: every rank writes metadata of its own and the ranks do not
  /// coordinate (torch's use_collectives=False).
  bool use_collectives = true;
};

/// Writes one checkpoint. One save at a time; the calls come in this order.
class StorageWriter {
 public:
  virtual ~StorageWriter() = default;

  /// All ranks, before planning: creates what must exist, refuses what must
  /// not be overwritten.
  virtual Status SetUp(const StorageRole& role) = 0;

  /// All ranks, with the local plan: the storage's notes for the coordinator.
  virtual StatusOr<std::string> PrepareLocalPlan(const SavePlan& plan) = 0;

  /// Coordinator: checks the whole (free space) and returns the storage's
  /// notes for each rank. `local_notes` holds PrepareLocalPlan's by rank.
  virtual StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const GlobalPlan& plan, std::span<const std::string> local_notes) = 0;

  /// All ranks: writes `plan` and makes it durable, as far as the storage was
  /// told to. Every item of the plan appears in the outcome exactly once.
  virtual StatusOr<WriteOutcome> WriteData(const SavePlan& plan,
                                           std::string_view notes,
                                           WriteSource& source) = 0;

  /// Coordinator (every rank if !use_collectives): publishes the checkpoint.
  /// This is the commit: it happens once or not at all. `metadata` comes
  /// without storage_data; `outcomes` are those of all ranks. Returns what was
  /// published, as SerializeMetadata makes it.
  virtual StatusOr<std::string> Finish(Metadata metadata,
                                       std::vector<WriteOutcome> outcomes) = 0;

  /// Coordinator, if !use_collectives, once every rank has published: removes
  /// what loads would still prefer to the ranks' checkpoints.
  virtual Status Conclude() { return absl::OkStatus(); }

  /// Whether Finish got as far as publishing. If it failed after that, nobody
  /// knows whether readers see the new checkpoint, and its data must stay.
  virtual bool commit_attempted() const = 0;

  /// All ranks, instead of what is left, after a failure anywhere before
  /// commit_attempted(): removes what this rank wrote.
  virtual void Abort() = 0;

  /// What goes into `.metadata` and to planners.
  virtual StorageMeta storage_meta() const = 0;

  /// The dtype in which `dtype` is stored (an export cast), for planning.
  virtual DType StoredDType(DType dtype) const { return dtype; }

  /// Whether tensors that share their memory are stored once: plans say which
  /// do then (SavePlan::ties).
  virtual bool StoresTiesOnce() const { return false; }

  /// Whether WriteData applies a view's `op`. A save of a tensor that has one
  /// fails otherwise.
  virtual bool AppliesElementOps() const { return false; }

  /// Whether WriteData asks WriteSource::StreamOf. Without it, a tensor that
  /// does not fit into memory is planned as several chunks.
  virtual bool TakesStreams() const { return false; }
};

/// Receives the data of a load. Thread-safe.
class ReadTarget {
 public:
  virtual ~ReadTarget() = default;

  /// The destination of `item`: its sizes are item.lengths. Memory stays valid
  /// until ReadData returns. Its dtype may differ from the stored one.
  virtual StatusOr<TensorView> ResolveTensor(const ReadItem& item) = 0;

  /// A verified object, as torch.save made it.
  virtual Status LoadObject(const ReadItem& item, std::string object) = 0;

  /// A verified tensor item that only torch can decode (quantized tensors,
  /// tensor subclasses), whole, as torch.save made it.
  virtual Status LoadOpaqueTensor(const ReadItem& item, std::string object) = 0;

  /// The bytes of `item` are in place.
  virtual Status CommitTensor(const ReadItem& item) = 0;

  /// As WriteSource::Proceed, for ReadData.
  virtual Status Proceed() { return absl::OkStatus(); }
};

/// What a reader learned on the coordinator, for all ranks.
struct CheckpointIndex {
  Metadata metadata;
  /// The storage's own notes (checksums, ...), opaque to others.
  std::string storage_data;
};

/// Reads one checkpoint.
class StorageReader {
 public:
  virtual ~StorageReader() = default;

  /// Reads the global metadata. Called on the coordinator; its result goes to
  /// the SetUp of every rank.
  /// \error kNotFound  there is no checkpoint here
  virtual StatusOr<CheckpointIndex> ReadIndex() = 0;

  /// Reads the metadata that `rank` wrote for itself (use_collectives=False).
  /// \error kNotFound  there is none
  virtual StatusOr<CheckpointIndex> ReadRankIndex(int rank) = 0;

  /// All ranks. `index` outlives the reader's use. May be called again, with
  /// another index: what was opened for the former is let go.
  virtual Status SetUp(const CheckpointIndex& index,
                       const StorageRole& role) = 0;

  /// All ranks, after planning and before any rank reads: opens the files that
  /// ReadData(plan) will need, so that a save which replaces the checkpoint
  /// meanwhile cannot take them away. ReadData does it where this was not
  /// called.
  virtual Status OpenData(const LoadPlan& plan) {
    static_cast<void>(plan);
    return absl::OkStatus();
  }

  /// After SetUp, instead of OpenData: opens all data files, unless they are
  /// many, and keeps them for every ReadData until the next SetUp, so that a
  /// save which replaces the checkpoint cannot take them away between two.
  virtual Status HoldData() { return absl::OkStatus(); }

  /// All ranks: reads what `plan` names into `target`.
  /// \error kDataLoss  stored bytes fail a check; names key, file and offset
  virtual Status ReadData(const LoadPlan& plan, ReadTarget& target) = 0;

  /// After SetUp: all data will be asked for, once, by several calls of
  /// ReadData, of which each takes a part of a tensor. What only the whole of a
  /// stored item tells, its CRC-32, is to be checked when its last part was
  /// read, instead of by reading all of it each time.
  virtual void ExpectParts() {}

  /// Bytes that ReadData calls fetched from storage so far, 0 if unknown.
  virtual int64_t nbytes_read() const { return 0; }
};

}  // namespace dcp

#endif  // DCP_STORAGE_H_
