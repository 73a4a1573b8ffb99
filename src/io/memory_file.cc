#include "io/memory_file.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "io/slices.h"

namespace dcp {
namespace {

/// No file in memory is meant to be larger.
constexpr int64_t kMaxFileNbytes = int64_t{1} << 36;

/// Sets the size, new bytes are zeros. Returns 0 or an errno.
int Resize(int64_t nbytes, std::string* bytes) {
  if (nbytes > kMaxFileNbytes) return EFBIG;
  try {
    bytes->resize(static_cast<size_t>(nbytes));
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  return 0;
}

}  // namespace

MemoryFile::MemoryFile(std::string path, std::shared_ptr<MemoryFileData> data,
                       OpenMode mode)
    : path_(std::move(path)), data_(std::move(data)), mode_(mode) {}

Status MemoryFile::CheckOpen(const char* op) const {
  if (data_ != nullptr) return absl::OkStatus();
  return FailedPrecondition(std::string(op) + " after Close() of " + path_);
}

Status MemoryFile::CheckWritable(const char* op) const {
  DCP_RETURN_IF_ERROR(CheckOpen(op));
  if (mode_ != OpenMode::kRead) return absl::OkStatus();
  return ErrnoToStatus(EINVAL, {.op = op, .path = path_});  // as ftruncate(2)
}

StatusOr<int64_t> MemoryFile::ReadCached(int64_t byte_offset,
                                         std::span<const IoSlice> slices) {
  DCP_RETURN_IF_ERROR(CheckOpen("read"));
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  if (mode_ != OpenMode::kRead && total > 0) {
    return ErrnoToStatus(EBADF, {.op = "pread",
                                 .path = path_,
                                 .byte_offset = byte_offset,
                                 .nbytes = total});
  }
  const MutexLock lock(data_->mutex);
  const auto size = static_cast<int64_t>(data_->bytes.size());
  const int64_t nbytes =
      std::clamp<int64_t>(size - byte_offset, int64_t{0}, total);
  if (nbytes > 0) {
    CopyToSlices(
        reinterpret_cast<const std::byte*>(data_->bytes.data()) + byte_offset,
        nbytes, slices);
  }
  return nbytes;
}

Status MemoryFile::ReadFully(int64_t byte_offset,
                             std::span<const IoSlice> slices) {
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, ReadCached(byte_offset, slices));
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  if (nbytes == total) return absl::OkStatus();
  return EndOfFileError(path_, byte_offset + nbytes, total - nbytes);
}

Status MemoryFile::WriteFully(int64_t byte_offset,
                              std::span<const IoSlice> slices) {
  DCP_RETURN_IF_ERROR(CheckOpen("write"));
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  if (total == 0) return absl::OkStatus();
  const ErrorDetail detail{.op = "pwrite",
                           .path = path_,
                           .byte_offset = byte_offset,
                           .nbytes = total};
  if (mode_ == OpenMode::kRead) return ErrnoToStatus(EBADF, detail);
  const MutexLock lock(data_->mutex);
  std::string& bytes = data_->bytes;
  const int64_t end = byte_offset + total;
  if (static_cast<int64_t>(bytes.size()) < end) {
    if (const int error = Resize(end, &bytes); error != 0) {
      return ErrnoToStatus(error, detail);
    }
  }
  CopyFromSlices(slices, total,
                 reinterpret_cast<std::byte*>(bytes.data()) + byte_offset);
  return absl::OkStatus();
}

StatusOr<int64_t> MemoryFile::Size() {
  DCP_RETURN_IF_ERROR(CheckOpen("fstat"));
  const MutexLock lock(data_->mutex);
  return static_cast<int64_t>(data_->bytes.size());
}

Status MemoryFile::Truncate(int64_t nbytes) {
  DCP_RETURN_IF_ERROR(CheckWritable("ftruncate"));
  const MutexLock lock(data_->mutex);
  const int error = nbytes < 0 ? EINVAL : Resize(nbytes, &data_->bytes);
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error,
                       {.op = "ftruncate", .path = path_, .nbytes = nbytes});
}

Status MemoryFile::Allocate(int64_t /*nbytes*/) {
  return CheckWritable("fallocate");
}

Status MemoryFile::Sync() { return CheckOpen("sync"); }

Status MemoryFile::Close() {
  DCP_RETURN_IF_ERROR(CheckOpen("close"));
  data_.reset();
  return absl::OkStatus();
}

}  // namespace dcp
