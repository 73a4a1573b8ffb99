// BlockChecksums: the CRC-32 of every block of a file, gathered while the file
// is written in any order.

#ifndef DCP_STORAGE_BLOCK_CHECKSUMS_H_
#define DCP_STORAGE_BLOCK_CHECKSUMS_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "format/sidecar.h"

namespace dcp {

/// Bytes of a file that one checksum of the sidecar covers.
inline constexpr int64_t kChecksumBlock = kSidecarBlockNbytes;

/// The bytes [begin, begin + nbytes) of a file have CRC-32 `crc`.
struct ChecksumPiece {
  int64_t begin = 0;
  int64_t nbytes = 0;
  uint32_t crc = 0;
};

/// Thread-safe.
class BlockChecksums {
 public:
  /// The bytes [begin, begin + nbytes) have CRC-32 `crc`. The range lies
  /// within one block and is added once.
  void Add(int64_t begin, int64_t nbytes, uint32_t crc);

  /// CRC-32 of each block of a file of `file_nbytes`; bytes that nobody added
  /// are zero.
  std::vector<uint32_t> Finish(int64_t file_nbytes);

  /// What was added, by `begin`, for a file that several ranks write.
  std::vector<ChecksumPiece> TakePieces();

 private:
  Mutex mutex_;
  std::vector<ChecksumPiece> pieces_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STORAGE_BLOCK_CHECKSUMS_H_
