// SharedFiller: the bytes of this rank's extents, from its own tensors and
// from what other ranks send; and what it sends to them.

#ifndef DCP_STORAGE_SHARED_FILLER_H_
#define DCP_STORAGE_SHARED_FILLER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "comm/peer_exchange.h"
#include "dcp/device_runtime.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/tensor_view.h"
#include "staging/write_pipeline.h"
#include "storage/block_builder.h"
#include "storage/block_checksums.h"
#include "storage/shared_cells.h"

namespace dcp {

/// Where the data of an item is.
struct SharedSource {
  TensorView view;
  /// Set if the elements come from there, as `item`; `view` is empty then.
  WriteStream* stream = nullptr;
  const WriteItem* item = nullptr;
};

/// `messages` for PeerExchange::Start; they are of `part`.
std::vector<PeerTraffic> TrafficOf(const SharedPart& part,
                                   const std::map<int, CellMessages>& messages);

/// Blocks are whole cells: they begin where an extent or a cell does, and end
/// likewise. Each cell is filled once, in the order of SharedPart's extents as
/// far as other ranks send parts of it.
class SharedFiller final : public BlockFiller, public MessageSource {
 public:
  struct Options {
    int rank = 0;
    DeviceRuntime& device;
    std::span<BlockChecksums> checksums;  ///< by file of the part
    WriteSource& source;                  ///< of the data
  };

  /// All outlive the filler. `sources` are by `positions`, those of the rank's
  /// items.
  SharedFiller(const SharedPart& part, const ItemPositions& positions,
               std::span<const SharedSource> sources, const Options& options);

  /// What this rank and each other exchange, for PeerExchange::Start.
  std::vector<PeerTraffic> Traffic() const {
    return TrafficOf(part_, messages_);
  }
  /// Before the first Fill, if there is traffic. `exchange` outlives the
  /// filler's use.
  void Connect(PeerExchange& exchange) { exchange_ = &exchange; }

  /// The file in `part` and the region's place in it, by number of region.
  void AddRegion(size_t file) { region_files_.push_back(file); }

  Status Fill(const WriteBlock& block, FillMode mode,
              std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override;
  void Cancel() override;

  Status Read(int peer, size_t number, int64_t begin,
              std::span<std::byte> out) override;
  std::span<const std::byte> Whole(int peer, size_t number) override;

 private:
  using Scratch = std::unique_ptr<std::byte[]>;

  const SharedSource& SourceOf(const CellPart& part) const {
    return sources_[positions_.at(part.chunk->source)];
  }
  /// The bytes of `part` from `byte_begin` on: any range.
  Status Gather(const CellPart& part, int64_t byte_begin,
                std::span<std::byte> out);
  bool IsOwn(const CellPart& part) const { return part.chunk->rank == rank_; }
  /// The memory that holds `part` as it is stored; empty if there is none.
  std::span<const std::byte> MemoryOf(const CellPart& part) const;
  Status FillCell(const Cell& cell, BlockBuilder& builder);
  /// That the head and the parts are all of the cell.
  Status RequireFilled(const Cell& cell,
                       const std::vector<CellPart>& parts) const;
  /// A cell that is all of one part: no second copy is needed.
  Status FillWhole(const CellPart& part, const Cell& cell,
                   BlockBuilder& builder);
  Status PutParts(const std::vector<CellPart>& parts, const Cell& cell,
                  std::span<std::byte> out);
  Status PutOwn(const CellPart& part, const Cell& cell,
                std::span<std::byte> scratch, std::span<std::byte> out);
  Status PutReceived(int peer, const std::vector<CellPart>& parts,
                     const Cell& cell, std::span<std::byte> scratch,
                     std::span<std::byte> out);
  Scratch TakeScratch();
  void GiveBack(Scratch scratch);

  const SharedPart& part_;
  const ItemPositions& positions_;
  const int rank_;
  const std::span<const SharedSource> sources_;
  DeviceRuntime& device_;
  const std::span<BlockChecksums> checksums_;
  WriteSource& source_;
  const std::map<int, CellMessages> messages_;
  std::vector<size_t> region_files_;
  PeerExchange* exchange_ = nullptr;
  Mutex mutex_;
  std::vector<Scratch> scratch_ ABSL_GUARDED_BY(mutex_);  // not in use
};

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_FILLER_H_
