#include "io/watched_file.h"

#include <utility>
#include <vector>

#include "io/slices.h"

namespace dcp {
namespace {

// A call of the watched file owns a copy of its bytes: this much at a time.
constexpr int64_t kPieceNbytes = int64_t{4} << 20;

int64_t TotalOf(std::span<const IoSlice> slices) {
  int64_t total = 0;
  for (const IoSlice& slice : slices) {
    total += static_cast<int64_t>(slice.nbytes);
  }
  return total;
}

std::shared_ptr<std::string> Buffer(int64_t nbytes) {
  return std::make_shared<std::string>(static_cast<size_t>(nbytes), '\0');
}

IoSlice SliceOf(std::string& bytes) {
  return {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// Calls `transfer` with one piece after the other; with nothing, once.
template <typename Transfer>
Status InPieces(const std::string& path, int64_t byte_offset,
                std::span<const IoSlice> slices, const Transfer& transfer) {
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes,
                       CheckedTotal(path, byte_offset, slices));
  int64_t done = 0;
  do {
    const std::vector<IoSlice> piece = SubSlices(slices, done, kPieceNbytes);
    DCP_RETURN_IF_ERROR(
        transfer(byte_offset + done, std::span<const IoSlice>(piece)));
    done += kPieceNbytes;
  } while (done < nbytes);
  return absl::OkStatus();
}

HeldLocks::Locks HeldBy(const std::shared_ptr<HeldLocks>& locks) {
  return locks == nullptr ? HeldLocks::Locks() : locks->Held();
}

}  // namespace

WatchedFile::WatchedFile(std::shared_ptr<File> base,
                         std::shared_ptr<CallWatch> watch,
                         std::shared_ptr<HeldLocks> locks)
    : base_(std::move(base)),
      watch_(std::move(watch)),
      locks_(std::move(locks)) {}

WatchedFile::~WatchedFile() {
  if (is_closed_) return;
  // Destroying it closes it, which may hang; the path goes with it.
  File& file = *base_;
  watch_->Discard("close", file.path(), std::move(base_));
}

Status WatchedFile::ReadFully(int64_t byte_offset,
                              std::span<const IoSlice> slices) {
  return InPieces(path(), byte_offset, slices, [this](int64_t at, auto piece) {
    return ReadPiece(at, piece);
  });
}

Status WatchedFile::ReadPiece(int64_t byte_offset,
                              std::span<const IoSlice> slices) {
  const int64_t nbytes = TotalOf(slices);
  const auto buffer = Buffer(nbytes);
  DCP_RETURN_IF_ERROR(watch_->Run<Status>(
      {.op = "pread", .path = path(), .byte_offset = byte_offset},
      [base = base_, buffer, byte_offset] {
        const IoSlice whole = SliceOf(*buffer);
        return base->ReadFully(byte_offset, {&whole, 1});
      }));
  CopyToSlices(SliceOf(*buffer).data, nbytes, slices);
  return absl::OkStatus();
}

StatusOr<int64_t> WatchedFile::ReadCached(int64_t byte_offset,
                                          std::span<const IoSlice> slices) {
  const auto buffer = Buffer(TotalOf(slices));
  DCP_ASSIGN_OR_RETURN(
      const int64_t nbytes,
      watch_->Run<StatusOr<int64_t>>(
          {.op = "preadv2", .path = path(), .byte_offset = byte_offset},
          [base = base_, buffer, byte_offset] {
            const IoSlice whole = SliceOf(*buffer);
            return base->ReadCached(byte_offset, {&whole, 1});
          }));
  CopyToSlices(SliceOf(*buffer).data, nbytes, slices);
  return nbytes;
}

Status WatchedFile::WriteFully(int64_t byte_offset,
                               std::span<const IoSlice> slices) {
  return InPieces(path(), byte_offset, slices, [this](int64_t at, auto piece) {
    return WritePiece(at, piece);
  });
}

Status WatchedFile::WritePiece(int64_t byte_offset,
                               std::span<const IoSlice> slices) {
  const int64_t nbytes = TotalOf(slices);
  const auto buffer = Buffer(nbytes);
  CopyFromSlices(slices, nbytes, SliceOf(*buffer).data);
  return watch_->Run<Status>(
      {.op = "pwrite", .path = path(), .byte_offset = byte_offset},
      [base = base_, buffer, byte_offset] {
        const IoSlice whole = SliceOf(*buffer);
        return base->WriteFully(byte_offset, {&whole, 1});
      });
}

StatusOr<int64_t> WatchedFile::Size() {
  return watch_->Run<StatusOr<int64_t>>(
      {.op = "fstat", .path = path()}, [base = base_] { return base->Size(); });
}

Status WatchedFile::Truncate(int64_t nbytes) {
  return watch_->Run<Status>(
      {.op = "ftruncate", .path = path()},
      [base = base_, nbytes] { return base->Truncate(nbytes); });
}

Status WatchedFile::Allocate(int64_t nbytes) {
  return watch_->Run<Status>(
      {.op = "fallocate", .path = path()},
      [base = base_, nbytes] { return base->Allocate(nbytes); });
}

Status WatchedFile::Sync() {
  return watch_->Run<Status>({.op = "fsync", .path = path()},
                             [base = base_] { return base->Sync(); });
}

Status WatchedFile::Close() {
  const Status status = watch_->Run<Status>(
      {.op = "close", .path = path()},
      [base = base_, held = HeldBy(locks_)] { return base->Close(); });
  is_closed_ = status.ok();
  return status;
}

}  // namespace dcp
