#include "io/slices.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

namespace dcp {

StatusOr<int64_t> CheckedTotal(std::string_view path, int64_t byte_offset,
                               std::span<const IoSlice> slices) {
  if (byte_offset < 0) {
    return InvalidArgument("negative offset " + std::to_string(byte_offset) +
                           " in " + std::string(path));
  }
  // What a file can hold beyond the offset; lowered by each slice.
  auto room =
      static_cast<uint64_t>(std::numeric_limits<int64_t>::max() - byte_offset);
  int64_t total = 0;
  for (const IoSlice& slice : slices) {
    if (slice.nbytes > room) {
      return InvalidArgument("the range at offset " +
                             std::to_string(byte_offset) + " of " +
                             std::string(path) + " exceeds 2^63 bytes");
    }
    room -= slice.nbytes;
    total += static_cast<int64_t>(slice.nbytes);
  }
  return total;
}

Status EndOfFileError(std::string_view path, int64_t end_offset,
                      int64_t missing_nbytes) {
  return CorruptionError("file ends at " + std::to_string(end_offset) +
                             " B, before the bytes to be read",
                         {.op = "pread",
                          .path = std::string(path),
                          .byte_offset = end_offset,
                          .nbytes = missing_nbytes});
}

std::vector<IoSlice> SubSlices(std::span<const IoSlice> slices, int64_t begin,
                               int64_t nbytes) {
  std::vector<IoSlice> part;
  auto skip = static_cast<size_t>(begin);
  auto left = static_cast<size_t>(nbytes);
  for (const IoSlice& slice : slices) {
    const size_t skipped = std::min(skip, slice.nbytes);
    skip -= skipped;
    const size_t taken = std::min(left, slice.nbytes - skipped);
    left -= taken;
    if (taken > 0) part.push_back({slice.data + skipped, taken});
  }
  return part;
}

void CopyToSlices(const std::byte* from, int64_t nbytes,
                  std::span<const IoSlice> slices) {
  for (const IoSlice& part : SubSlices(slices, 0, nbytes)) {
    std::memcpy(part.data, from, part.nbytes);
    from += part.nbytes;
  }
}

void CopyFromSlices(std::span<const IoSlice> slices, int64_t nbytes,
                    std::byte* to) {
  for (const IoSlice& part : SubSlices(slices, 0, nbytes)) {
    std::memcpy(to, part.data, part.nbytes);
    to += part.nbytes;
  }
}

int64_t SliceCursor::Next(size_t max_count, int64_t max_nbytes,
                          std::vector<iovec>* iov) {
  iov->clear();
  auto room = static_cast<size_t>(max_nbytes);
  size_t skipped = skipped_;
  for (size_t i = index_; i < slices_.size() && room > 0; ++i) {
    if (iov->size() == max_count) break;
    const size_t taken = std::min(room, slices_[i].nbytes - skipped);
    if (taken > 0) iov->push_back({slices_[i].data + skipped, taken});
    room -= taken;
    skipped = 0;
  }
  return max_nbytes - static_cast<int64_t>(room);
}

void SliceCursor::Advance(int64_t nbytes) {
  auto left = static_cast<size_t>(nbytes);
  while (left > 0) {
    const size_t step = std::min(left, slices_[index_].nbytes - skipped_);
    left -= step;
    skipped_ += step;
    if (skipped_ == slices_[index_].nbytes) {
      ++index_;
      skipped_ = 0;
    }
  }
}

}  // namespace dcp
