#include "storage/checked_read.h"

#include <algorithm>
#include <span>

#include "base/checksum.h"

namespace dcp {
namespace {

StatusOr<std::vector<std::byte>> ReadRange(File& file, int64_t begin,
                                           int64_t end) {
  std::vector<std::byte> bytes(static_cast<size_t>(end - begin));
  const IoSlice slice{bytes.data(), bytes.size()};
  DCP_RETURN_IF_ERROR(file.ReadFully(begin, {&slice, 1}));
  return bytes;
}

}  // namespace

StatusOr<std::vector<std::byte>> ReadChecked(File& file,
                                             const SidecarFile* record,
                                             int64_t begin, int64_t nbytes) {
  constexpr int64_t kBlock = kSidecarBlockNbytes;
  const int64_t end = begin + nbytes;
  if (record == nullptr || nbytes == 0 || end > record->nbytes) {
    return ReadRange(file, begin, end);
  }
  const int64_t first = begin / kBlock * kBlock;
  const int64_t last =
      std::min(record->nbytes, (end + kBlock - 1) / kBlock * kBlock);
  DCP_ASSIGN_OR_RETURN(std::vector<std::byte> bytes,
                       ReadRange(file, first, last));
  for (int64_t at = first; at < last; at += kBlock) {
    const std::span block =
        std::span(bytes).subspan(static_cast<size_t>(at - first));
    const size_t n = std::min(block.size(), static_cast<size_t>(kBlock));
    if (Crc32(0, block.first(n)) !=
        record->block_crcs[static_cast<size_t>(at / kBlock)]) {
      return CorruptionError("stored bytes differ from their recorded CRC-32",
                             {.op = "verify",
                              .path = file.path(),
                              .byte_offset = at,
                              .nbytes = static_cast<int64_t>(n)});
    }
  }
  bytes.resize(static_cast<size_t>(end - first));
  bytes.erase(bytes.begin(), bytes.begin() + (begin - first));
  return bytes;
}

}  // namespace dcp
