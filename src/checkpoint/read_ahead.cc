#include "checkpoint/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/guarded.h"
#include "base/round_up.h"
#include "checkpoint/tensor_pieces.h"

namespace dcp {
namespace {

/// Pieces of a batch: what is known of each while it is read takes memory.
constexpr size_t kMaxPieces = 4096;
/// A large piece starts where a direct read can put it.
constexpr int64_t kLargePiece = int64_t{64} << 10;

int64_t AlignmentOf(int64_t nbytes) {
  return nbytes >= kLargePiece ? 4096 : 64;
}

/// The largest piece of `tensor`.
int64_t PieceLimit(const SourceTensor& tensor, int64_t limit) {
  return std::max(limit, tensor.unit_nbytes);
}

}  // namespace

ReadAhead::ReadAhead(std::span<const SourceTensor> tensors, PieceReader& reader,
                     ReadAheadOptions options)
    : tensors_(tensors), reader_(reader), options_(options) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const SourceTensor& tensor = tensors_[i];
    first_pieces_.push_back(pieces_.size());
    if (tensor.nbytes() == 0 || tensor.is_encoded || tensor.is_alias) continue;
    int64_t begin = 0;
    const Box whole = tensor.box();
    for (Box box : CutIntoPieces(whole.sizes, ItemSize(tensor.dtype),
                                 PieceLimit(tensor, options_.batch_nbytes))) {
      for (int d = 0; d < box.ndim(); ++d) box.offsets[d] += whole.offsets[d];
      AddPiece(i, box, begin);
      begin += pieces_.back().nbytes;
    }
  }
  first_pieces_.push_back(pieces_.size());
}

ReadAhead::~ReadAhead() {
  Cancel();
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::AddPiece(size_t tensor, const Box& box, int64_t begin) {
  const int64_t nbytes = box.numel() * ItemSize(tensors_[tensor].dtype);
  int64_t place = batches_.empty()
                      ? 0
                      : RoundUpTo(batches_.back().nbytes, AlignmentOf(nbytes));
  if (batches_.empty() || place + nbytes > options_.batch_nbytes ||
      batches_.back().last - batches_.back().first >= kMaxPieces) {
    batches_.push_back({.first = pieces_.size(), .last = pieces_.size()});
    place = 0;
  }
  Batch& batch = batches_.back();
  batch.nbytes = place + nbytes;
  batch.nbytes_left += nbytes;
  ++batch.last;
  pieces_.push_back({.tensor = tensor,
                     .box = box,
                     .begin = begin,
                     .nbytes = nbytes,
                     .batch = batches_.size() - 1,
                     .place = place});
}

Status ReadAhead::Start() {
  return Guarded([this] {
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  });
}

void ReadAhead::Run() {
  for (size_t i = 0; i < batches_.size(); ++i) {
    Status read = Guarded([&] { return ReadBatch(i); });
    const MutexLock lock(mutex_);
    if (read.ok()) {
      batches_[i].is_ready = true;
    } else {
      status_ = std::move(read);
    }
    changed_.NotifyAll();
    if (!status_.ok()) return;
  }
}

Status ReadAhead::ReadBatch(size_t number) {
  Batch& batch = batches_[number];
  DCP_ASSIGN_OR_RETURN(batch.buffer, AwaitRoom(number));
  std::vector<PieceRead> reads;
  for (size_t i = batch.first; i < batch.last; ++i) {
    const Piece& piece = pieces_[i];
    reads.push_back({.tensor = &tensors_[piece.tensor],
                     .box = piece.box,
                     .memory = batch.buffer.memory().data() + piece.place});
  }
  return reader_.Read(reads);
}

StatusOr<AlignedBuffer> ReadAhead::AwaitRoom(size_t number) {
  const int64_t nbytes =
      std::max(batches_[number].nbytes, options_.batch_nbytes);
  {
    const MutexLock lock(mutex_);
    while (!cancelled_ && number >= wanted_end_ && nbytes_held_ > 0 &&
           nbytes_held_ + nbytes > options_.max_nbytes) {
      changed_.Wait(mutex_);
    }
    DCP_RETURN_IF_ERROR(Proceed());
    nbytes_held_ += nbytes;
    if (!free_.empty() &&
        free_.back().memory().size() >= static_cast<size_t>(nbytes)) {
      AlignedBuffer buffer = std::move(free_.back());
      free_.pop_back();
      return buffer;
    }
  }
  return AlignedBuffer::Allocate(static_cast<size_t>(nbytes));
}

const ReadAhead::Piece& ReadAhead::PieceAt(size_t tensor, int64_t byte) const {
  const auto first =
      pieces_.begin() + static_cast<std::ptrdiff_t>(first_pieces_[tensor]);
  const auto last =
      pieces_.begin() + static_cast<std::ptrdiff_t>(first_pieces_[tensor + 1]);
  return *std::prev(std::upper_bound(
      first, last, byte,
      [](int64_t at, const Piece& piece) { return at < piece.begin; }));
}

Status ReadAhead::Read(size_t tensor, int64_t byte_begin,
                       std::span<std::byte> out) {
  while (!out.empty()) {
    const Piece& piece = PieceAt(tensor, byte_begin);
    const int64_t skip = byte_begin - piece.begin;
    const size_t nbytes =
        std::min(out.size(), static_cast<size_t>(piece.nbytes - skip));
    DCP_RETURN_IF_ERROR(AwaitBatch(piece.batch));
    std::memcpy(
        out.data(),
        batches_[piece.batch].buffer.memory().data() + piece.place + skip,
        nbytes);
    Took(piece.batch, static_cast<int64_t>(nbytes));
    byte_begin += static_cast<int64_t>(nbytes);
    out = out.subspan(nbytes);
  }
  return absl::OkStatus();
}

Status ReadAhead::AwaitBatch(size_t number) {
  const MutexLock lock(mutex_);
  if (wanted_end_ <= number) {
    wanted_end_ = number + 1;
    changed_.NotifyAll();
  }
  while (!batches_[number].is_ready && status_.ok() && !cancelled_) {
    changed_.Wait(mutex_);
  }
  DCP_RETURN_IF_ERROR(status_);
  return Proceed();
}

void ReadAhead::Took(size_t batch, int64_t nbytes) {
  nbytes_taken_ += nbytes;
  const MutexLock lock(mutex_);
  Batch& from = batches_[batch];
  from.nbytes_left -= nbytes;
  if (from.nbytes_left > 0) return;
  nbytes_held_ -= std::max(from.nbytes, options_.batch_nbytes);
  free_.push_back(std::move(from.buffer));
  changed_.NotifyAll();
}

void ReadAhead::Cancel() {
  cancelled_ = true;
  const MutexLock lock(mutex_);
  changed_.NotifyAll();
}

Status ReadAhead::Proceed() const {
  if (!cancelled_) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kCancelled,
                    "the writing failed in another thread");
}

}  // namespace dcp
