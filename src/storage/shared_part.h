// SharedPart: one rank's part in files that all ranks write together.
//
// Such a file holds tensors, row-major, one behind the other: whole ones, or,
// if it is a rank's own, the parts that the rank has. Each of its bytes has one
// rank that writes it, in extents (plan/shared_files.h); what the rank does not
// hold itself is sent to it. Both sides work from the same list: an extent is
// cut into cells, at multiples of kSharedCellNbytes, and whoever holds
// something that lies in a cell sends it in one message, in the order of
// tensors and chunks.

#ifndef DCP_STORAGE_SHARED_PART_H_
#define DCP_STORAGE_SHARED_PART_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "format/sidecar.h"
#include "plan/shared_files.h"

namespace dcp {

/// As the sidecar's grid, so that a cell has one checksum of its own.
inline constexpr int64_t kSharedCellNbytes = kSidecarBlockNbytes;

/// A box of a tensor that one rank has.
struct SharedPartChunk {
  Box box;
  int rank = 0;
  /// WriteItem::source of the item in the plan of the rank that this part is
  /// for, which may put its items into another order; -1: it is another rank's.
  int64_t source = -1;
  bool operator==(const SharedPartChunk&) const = default;
};

struct SharedPartTensor {
  int64_t begin = 0;  ///< file offset in bytes
  DType dtype = DType::kFloat32;
  Dims sizes;
  /// Boxes are of what lies in the file.
  std::vector<SharedPartChunk> chunks;
  /// Of a file that holds a part of a tensor: where in it that begins.
  std::optional<Dims> origin;

  int64_t nbytes() const { return Numel(sizes) * ItemSize(dtype); }
  int64_t end() const { return begin + nbytes(); }
  bool operator==(const SharedPartTensor&) const = default;
};

struct SharedPartFile {
  std::string path;  ///< while it is written
  std::string name;  ///< in the checkpoint
  /// Whether it is the rank's own, which makes it; else the coordinator does.
  bool is_own = false;
  int64_t nbytes = 0;
  /// What the file begins with; empty where other ranks write that.
  std::string head;
  /// By begin. Those of which the rank holds something, and those that lie in
  /// its extents with all chunks that do.
  std::vector<SharedPartTensor> tensors;
  /// By begin. The rank's own, and those that need something of it.
  std::vector<OwnedExtent> extents;
  bool operator==(const SharedPartFile&) const = default;
};

struct SharedPart {
  std::vector<SharedPartFile> files;
  /// By rank: how to reach it (PeerListener::address).
  std::vector<std::string> addresses;
  bool operator==(const SharedPart&) const = default;
};

std::string SerializeSharedPart(const SharedPart& part);
/// \error kDataLoss  not what SerializeSharedPart wrote, or bytes that are not
///     in their file
StatusOr<SharedPart> ParseSharedPart(std::string_view data);

/// Positions in a rank's plan, by WriteItem::source.
using ItemPositions = std::unordered_map<int64_t, size_t>;

/// \error kInternal  a chunk of `rank` in `part` is no item of `plan`, which is
///     that rank's, or `plan` has two items of one source
StatusOr<ItemPositions> FindItems(const SavePlan& plan, const SharedPart& part,
                                  int rank);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_PART_H_
