#include "storage/pool_reading.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/guarded.h"
#include "staging/read_pipeline.h"
#include "staging/threads.h"
#include "storage/block_checksums.h"

namespace dcp {
namespace {

// While one reads, the other's pieces are taken.
constexpr size_t kThreads = 2;
// That one thread keeps open.
constexpr size_t kMaxKeptFiles = 32;

/// Checks pieces and publishes them.
class PieceConsumer final : public BlockConsumer {
 public:
  /// By tag: `pieces`, and of each what is recorded of its file, or null.
  PieceConsumer(PoolMember& member, std::span<const PoolPiece> pieces,
                std::span<const SidecarFile* const> records)
      : member_(member), pieces_(pieces), records_(records) {}

  bool Place(const ReadBlock& block, std::span<std::byte>,
             std::vector<IoSlice>* slices) override {
    const std::span<std::byte> room = member_.RoomOf(pieces_[block.tag]);
    slices->push_back({room.data(), room.size()});
    return true;
  }

  Status Consume(const ReadBlock& block,
                 std::span<const IoSlice> slices) override {
    const PoolPiece& piece = pieces_[block.tag];
    const std::span<std::byte> room = member_.RoomOf(piece);
    const std::span<const std::byte> bytes(slices[0].data, slices[0].nbytes);
    constexpr auto kCell = static_cast<size_t>(kChecksumBlock);
    bool is_right = true;
    for (size_t at = 0; at < bytes.size(); at += kCell) {
      const auto cell = bytes.subspan(at, std::min(kCell, bytes.size() - at));
      is_right = is_right &&
                 IsRight(cell, piece.begin + ToSigned(at), records_[block.tag]);
      if (cell.data() != room.data() + at) {
        std::memcpy(room.data() + at, cell.data(), cell.size());
      }
    }
    member_.Publish(piece, is_right ? PoolMember::Outcome::kRead
                                    : PoolMember::Outcome::kFailed);
    return absl::OkStatus();
  }

  Status ReadFailed(const ReadBlock& block, const Status&) override {
    // Each taker reads it, and finds the error.
    member_.Publish(pieces_[block.tag], PoolMember::Outcome::kFailed);
    return absl::OkStatus();
  }

 private:
  static int64_t ToSigned(size_t at) { return static_cast<int64_t>(at); }

  static bool IsRight(std::span<const std::byte> cell, int64_t begin,
                      const SidecarFile* record) {
    return record == nullptr ||
           Crc32(0, cell) ==
               record->block_crcs[static_cast<size_t>(begin / kChecksumBlock)];
  }

  PoolMember& member_;
  const std::span<const PoolPiece> pieces_;
  const std::span<const SidecarFile* const> records_;
};

}  // namespace

PoolReading::PoolReading(PoolMember& member, const PipelineOptions& options,
                         MakeFiles make_files)
    : member_(member), options_(options), make_files_(std::move(make_files)) {
  for (const PoolPiece& piece : member.division().pieces) {
    if (piece.reader == member.number()) pieces_.push_back(piece);
  }
  if (!pieces_.empty()) {
    round_ = std::max<size_t>(1, member.slot_count() / kThreads);
    const Status started = Guarded([this] {
      thread_ = std::thread([this] { Run(); });
      return absl::OkStatus();
    });
    if (started.ok()) return;
  }
  member_.EndReading();
  const MutexLock lock(mutex_);
  is_done_ = true;
}

PoolReading::~PoolReading() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

Status PoolReading::Finish(const std::function<Status()>& proceed) {
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (!is_done_) {
        changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() +
                                       std::chrono::milliseconds(50));
      }
      if (is_done_) return absl::OkStatus();
    }
    DCP_RETURN_IF_ERROR(proceed());
  }
}

void PoolReading::Run() {
  // What goes wrong is nobody's error: the takers read by themselves.
  Guarded([this] {
    RunOnThreads(kThreads, [this](size_t) {
      const Status read = Guarded([this] {
        ReadRounds();
        return absl::OkStatus();
      });
      // Pieces that it was at do not come: nobody shall wait for them.
      if (!read.ok()) Stop();
    });
    return absl::OkStatus();
  }).IgnoreError();
  member_.EndReading();
  const MutexLock lock(mutex_);
  is_done_ = true;
  changed_.NotifyAll();
}

void PoolReading::Stop() {
  stops_ = true;
  member_.EndReading();
}

void PoolReading::ReadRounds() {
  std::unique_ptr<OpenFiles> files;
  size_t kept = 0;
  while (!stops_) {
    const size_t begin = next_.fetch_add(round_);
    if (begin >= pieces_.size()) return;
    const auto pieces = std::span(pieces_).subspan(
        begin, std::min(round_, pieces_.size() - begin));
    if (files == nullptr || kept > kMaxKeptFiles) {
      files = make_files_();
      kept = 0;
    }
    kept += pieces.back().file - pieces.front().file + 1;
    if (!ReadRound(pieces, files)) Stop();
  }
}

bool PoolReading::ReadRound(std::span<const PoolPiece> pieces,
                            std::unique_ptr<OpenFiles>& files) {
  std::vector<ReadBlock> blocks;
  std::vector<const SidecarFile*> records(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    const PoolPiece& piece = pieces[i];
    if (!member_.AwaitRoom(piece)) return false;
    const PoolFile& described = member_.division().files[piece.file];
    const StatusOr<OpenFile*> file = files->Open(described.name, {});
    const bool can_be_read = file.ok() && piece.read_end <= (*file)->nbytes &&
                             described.in_cells == ((*file)->record != nullptr);
    if (!can_be_read) {
      member_.Publish(piece, PoolMember::Outcome::kFailed);
      continue;
    }
    records[i] = (*file)->record;
    blocks.push_back({.file = (*file)->file.get(),
                      .byte_offset = piece.begin,
                      .nbytes = piece.read_end - piece.begin,
                      .tag = i});
  }
  PieceConsumer consumer(member_, pieces, records);
  const StatusOr<ReadStats> read = RunReadPipeline(blocks, consumer, options_);
  if (!read.ok()) return false;
  nbytes_read_ += read->nbytes_cached + read->nbytes_device;
  return true;
}

}  // namespace dcp
