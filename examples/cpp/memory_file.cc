#include "memory_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace examples {
namespace {

/// No file in memory is meant to be larger: a wild offset is an error here
/// rather than an attempt to get so much.
constexpr int64_t kMaxNbytes = int64_t{1} << 36;

size_t TotalOf(std::span<const dcp::IoSlice> slices) {
  size_t total = 0;
  for (const dcp::IoSlice& slice : slices) total += slice.nbytes;
  return total;
}

/// Sets the size; new bytes are zeros. Returns 0 or an errno: libdcp neither
/// throws nor expects that anybody else does.
int Resize(int64_t nbytes, std::string& bytes) {
  if (nbytes > kMaxNbytes) return EFBIG;
  try {
    bytes.resize(static_cast<size_t>(nbytes));
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  return 0;
}

}  // namespace

MemoryFile::MemoryFile(std::string path, std::shared_ptr<MemoryContent> content,
                       dcp::OpenMode mode)
    : path_(std::move(path)), content_(std::move(content)), mode_(mode) {}

dcp::Status MemoryFile::Require(const char* op, dcp::OpenMode mode) const {
  if (content_ == nullptr) {
    return dcp::FailedPrecondition(std::string(op) + " after Close() of " +
                                   path_);
  }
  return mode == mode_ ? dcp::Status() : Failed(EBADF, op, 0);
}

/// Errors are made as the operating system makes them: by errno, from which
/// libdcp derives the code and the text.
dcp::Status MemoryFile::Failed(int error_number, const char* op,
                               int64_t offset) const {
  return dcp::ErrnoToStatus(error_number,
                            {.op = op, .path = path_, .byte_offset = offset});
}

/// In memory every read is a cached one.
dcp::StatusOr<int64_t> MemoryFile::ReadCached(
    int64_t byte_offset, std::span<const dcp::IoSlice> slices) {
  DCP_RETURN_IF_ERROR(Require("read", dcp::OpenMode::kRead));
  if (byte_offset < 0) {
    return dcp::InvalidArgument("read before the beginning of " + path_);
  }
  const std::lock_guard<std::mutex> lock(content_->mutex);
  const std::string& bytes = content_->bytes;
  auto position = static_cast<size_t>(byte_offset);
  for (const dcp::IoSlice& slice : slices) {
    if (position >= bytes.size()) break;
    const size_t n = std::min(slice.nbytes, bytes.size() - position);
    if (n > 0) std::memcpy(slice.data, bytes.data() + position, n);
    position += n;
  }
  return static_cast<int64_t>(position) - byte_offset;
}

dcp::Status MemoryFile::ReadFully(int64_t byte_offset,
                                  std::span<const dcp::IoSlice> slices) {
  DCP_ASSIGN_OR_RETURN(const int64_t got, ReadCached(byte_offset, slices));
  const auto wanted = static_cast<int64_t>(TotalOf(slices));
  if (got == wanted) return {};
  DCP_ASSIGN_OR_RETURN(const int64_t size, Size());
  return dcp::CorruptionError("the file ends at " + std::to_string(size) + " B",
                              {.op = "read",
                               .path = path_,
                               .byte_offset = byte_offset,
                               .nbytes = wanted});
}

dcp::Status MemoryFile::WriteFully(int64_t byte_offset,
                                   std::span<const dcp::IoSlice> slices) {
  DCP_RETURN_IF_ERROR(Require("write", dcp::OpenMode::kCreateNew));
  if (byte_offset < 0) {
    return dcp::InvalidArgument("write before the beginning of " + path_);
  }
  const auto total = static_cast<int64_t>(TotalOf(slices));
  if (total == 0) return {};
  const int64_t end = byte_offset + total;
  const std::lock_guard<std::mutex> lock(content_->mutex);
  std::string& bytes = content_->bytes;
  if (static_cast<int64_t>(bytes.size()) < end) {
    if (const int error = Resize(end, bytes); error != 0) {
      return Failed(error, "write", byte_offset);
    }
  }
  char* position = bytes.data() + byte_offset;
  for (const dcp::IoSlice& slice : slices) {
    if (slice.nbytes > 0) std::memcpy(position, slice.data, slice.nbytes);
    position += slice.nbytes;
  }
  return {};
}

dcp::StatusOr<int64_t> MemoryFile::Size() {
  DCP_RETURN_IF_ERROR(Require("stat", mode_));
  const std::lock_guard<std::mutex> lock(content_->mutex);
  return static_cast<int64_t>(content_->bytes.size());
}

dcp::Status MemoryFile::Truncate(int64_t nbytes) {
  DCP_RETURN_IF_ERROR(Require("truncate", dcp::OpenMode::kCreateNew));
  const std::lock_guard<std::mutex> lock(content_->mutex);
  const int error = nbytes < 0 ? EINVAL : Resize(nbytes, content_->bytes);
  return error == 0 ? dcp::Status() : Failed(error, "truncate", nbytes);
}

/// Reserving is a hint, which memory does not need.
dcp::Status MemoryFile::Allocate(int64_t /*nbytes*/) {
  return Require("allocate", dcp::OpenMode::kCreateNew);
}

dcp::Status MemoryFile::Sync() { return Require("sync", mode_); }

dcp::Status MemoryFile::Close() {
  DCP_RETURN_IF_ERROR(Require("close", mode_));
  content_.reset();
  return {};
}

}  // namespace examples
