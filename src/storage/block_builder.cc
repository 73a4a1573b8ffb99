#include "storage/block_builder.h"

#include <algorithm>

#include "base/checksum.h"

namespace dcp {

std::span<std::byte> BlockBuilder::Reserve(int64_t nbytes) {
  const auto n = static_cast<size_t>(nbytes);
  std::span<std::byte> part = free_.first(n);
  free_ = free_.subspan(n);
  Append({part.data(), n});
  return part;
}

void BlockBuilder::Reference(std::span<std::byte> memory) {
  Append({memory.data(), memory.size()});
}

void BlockBuilder::Zeros(int64_t nbytes) {
  std::span<std::byte> part = Reserve(nbytes);
  std::fill(part.begin(), part.end(), std::byte{0});
}

void BlockBuilder::Know(int64_t nbytes, uint32_t crc) {
  known_.push_back({position_ - nbytes, nbytes, crc});
}

void BlockBuilder::ReportChecksums(int64_t begin, BlockChecksums& checksums) {
  auto known = known_.begin();
  size_t slice = 0;
  size_t used = 0;
  for (int64_t cell = begin; cell < position_;) {
    const int64_t end =
        std::min(position_, (cell / kChecksumBlock + 1) * kChecksumBlock);
    while (known != known_.end() && known->begin < cell) ++known;
    const bool is_known = known != known_.end() && known->begin == cell &&
                          known->nbytes == end - cell;
    const uint32_t computed =
        Walk(end - cell, is_known ? Checksum::kSkip : Checksum::kCompute,
             &slice, &used);
    checksums.Add(cell, end - cell, is_known ? known->crc : computed);
    cell = end;
  }
}

void BlockBuilder::Append(IoSlice slice) {
  if (slice.nbytes == 0) return;
  position_ += static_cast<int64_t>(slice.nbytes);
  if (!slices_->empty()) {
    IoSlice& last = slices_->back();
    if (last.data + last.nbytes == slice.data) {
      last.nbytes += slice.nbytes;
      return;
    }
  }
  slices_->push_back(slice);
}

uint32_t BlockBuilder::Walk(int64_t nbytes, Checksum checksum, size_t* slice,
                            size_t* used) const {
  uint32_t crc = 0;
  while (nbytes > 0) {
    const IoSlice& current = (*slices_)[*slice];
    const size_t n =
        std::min(static_cast<size_t>(nbytes), current.nbytes - *used);
    if (checksum == Checksum::kCompute) {
      crc = Crc32(crc, {current.data + *used, n});
    }
    nbytes -= static_cast<int64_t>(n);
    *used += n;
    if (*used == current.nbytes) {
      ++*slice;
      *used = 0;
    }
  }
  return crc;
}

}  // namespace dcp
