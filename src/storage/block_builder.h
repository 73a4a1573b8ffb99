// BlockBuilder: puts one block of a file together from parts.

#ifndef DCP_STORAGE_BLOCK_BUILDER_H_
#define DCP_STORAGE_BLOCK_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dcp/file_system.h"
#include "staging/write_pipeline.h"
#include "storage/block_checksums.h"

namespace dcp {

/// The slices of one block, in order, and the checksums known of them.
class BlockBuilder {
 public:
  /// `buffer` holds at least the block; `slices` takes the result.
  BlockBuilder(int64_t byte_offset, FillMode mode, std::span<std::byte> buffer,
               std::vector<IoSlice>* slices)
      : position_(byte_offset), mode_(mode), free_(buffer), slices_(slices) {}

  /// File offset of the next byte.
  int64_t position() const { return position_; }
  bool may_reference() const { return mode_ == FillMode::kReference; }

  /// The next `nbytes` of the block, to be written by the caller.
  std::span<std::byte> Reserve(int64_t nbytes);
  /// Appends memory that outlives the block.
  void Reference(std::span<std::byte> memory);
  void Zeros(int64_t nbytes);
  /// Tells that the last `nbytes` appended have CRC-32 `crc`.
  void Know(int64_t nbytes, uint32_t crc);

  /// Reports the CRC of every cell of the checksum grid in this block, which
  /// began at `begin`; computes those that Know did not give.
  void ReportChecksums(int64_t begin, BlockChecksums& checksums);

 private:
  struct Known {
    int64_t begin;
    int64_t nbytes;
    uint32_t crc;
  };

  void Append(IoSlice slice);
  /// Moves over the next `nbytes` of the slices; their CRC if `checksum`.
  enum class Checksum : uint8_t { kSkip, kCompute };
  uint32_t Walk(int64_t nbytes, Checksum checksum, size_t* slice,
                size_t* used) const;

  int64_t position_;
  FillMode mode_;
  std::span<std::byte> free_;
  std::vector<IoSlice>* slices_;
  std::vector<Known> known_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_BLOCK_BUILDER_H_
