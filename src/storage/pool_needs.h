// PoolNeeds: which bytes of a checkpoint's files a rank is going to read.

#ifndef DCP_STORAGE_POOL_NEEDS_H_
#define DCP_STORAGE_POOL_NEEDS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/wire.h"
#include "dcp/metadata.h"
#include "format/sidecar.h"
#include "storage/stored_item.h"

namespace dcp {

/// Bytes [begin, end) of a file.
struct FileRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const FileRange&) const = default;
};

struct FileNeeds {
  std::string name;  ///< relative to the checkpoint
  /// Whether the sidecar has checksums of the file: then the ranges are whole
  /// cells of its grid, else whole items.
  bool in_cells = false;
  std::vector<FileRange> ranges;  ///< ascending, apart
  bool operator==(const FileNeeds&) const = default;
};

/// By name.
using PoolNeeds = std::vector<FileNeeds>;

/// Bytes of a file of the checkpoint, if that is known.
using FileSizes = std::function<std::optional<int64_t>(const std::string&)>;

/// What a load that checks what it reads takes for `reads`, which are in the
/// order of LocateReads. Without compressed items, which are read by
/// themselves, and without what is not where a file, of `sizes`, can be:
/// reading tells of it.
PoolNeeds FindPoolNeeds(std::span<const LocatedRead> reads,
                        const Metadata& metadata, const Sidecar& sidecar,
                        const FileSizes& sizes);

/// More than that no host needs: what says so is damaged.
inline constexpr int64_t kMaxPoolNbytes = int64_t{1} << 41;

/// Bytes of all ranges; of more than kMaxPoolNbytes, something larger.
int64_t NbytesOf(const PoolNeeds& needs);

void PutPoolNeeds(const PoolNeeds& needs, WireWriter* out);
PoolNeeds GetPoolNeeds(WireReader& in);

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_NEEDS_H_
