// DescribeLayout: which part of what lies where in which file, and how evenly.

#ifndef DCP_CHECKPOINT_LAYOUT_H_
#define DCP_CHECKPOINT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dcp/checkpoint_format.h"
#include "dcp/dims.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// A stored chunk of a tensor, or an object.
struct StoredPart {
  std::string fqn;
  std::optional<Box> chunk;  ///< nullopt: an object
  size_t file = 0;           ///< position in CheckpointLayout::files
  int64_t byte_offset = 0;
  int64_t nbytes = 0;  ///< as stored
};

/// What keys share counts once as bytes and items.
struct FileLayout {
  std::string name;             ///< below the checkpoint's directory
  std::optional<int64_t> rank;  ///< that wrote it, if its name tells
  int64_t nbytes = 0;
  int64_t items = 0;  ///< places in the file
  int64_t keys = 0;   ///< that have a part in it
};

/// The files of one rank, together.
struct RankLayout {
  int64_t rank = 0;
  int64_t files = 0;
  int64_t nbytes = 0;
  int64_t items = 0;
};

struct CheckpointLayout {
  CheckpointFormat format = CheckpointFormat::kDcp;
  std::vector<FileLayout> files;  ///< with data, by name
  /// By rank; empty unless the names of all files tell one.
  std::vector<RankLayout> ranks;
  /// By key, in the checkpoint's order; those of a tensor in the order of its
  /// chunks.
  std::vector<StoredPart> parts;
  /// The bytes of the largest over the mean: 1 is even, and the number of files
  /// (ranks) is all in one. 1 where there are no bytes.
  double file_imbalance = 1;
  double rank_imbalance = 1;
};

struct LayoutOptions {
  IoOptions io;
};

/// Of what Describe takes; reads no more than that does.
/// \error kDataLoss  also if the metadata does not say where a part lies
/// Others as of Describe.
StatusOr<CheckpointLayout> DescribeLayout(const std::string& path,
                                          const LayoutOptions& options = {},
                                          StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_CHECKPOINT_LAYOUT_H_
