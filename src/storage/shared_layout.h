// SharedLayout: what lies where in the safetensors files of a save, and which
// rank writes it. Pure.

#ifndef DCP_STORAGE_SHARED_LAYOUT_H_
#define DCP_STORAGE_SHARED_LAYOUT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "format/safetensors_header.h"
#include "format/safetensors_index.h"
#include "storage/shared_part.h"

namespace dcp {

/// Bytes that begin and end what one rank writes: a stripe of a parallel file
/// system, and a page of any.
inline constexpr int64_t kSharedAlignment = int64_t{1} << 20;

struct SharedLayoutOptions {
  /// Tensor -> number of its file, from 1. Empty: files are filled in the order
  /// of tensors.
  std::map<std::string, int64_t> file_numbers;
  /// Data bytes of one file, as far as tensors allow, without `file_numbers`.
  int64_t max_file_nbytes = 5'000'000'000;
  /// Each file has one writer.
  bool one_writer_per_file = false;
};

struct SharedLayoutFile {
  /// Of a rank's own file (rank_layout.h): the rank, and its name.
  std::optional<int> rank;
  std::string name;
  SafetensorsHead head;
  /// All, with all chunks.
  std::vector<SharedPartTensor> tensors;
  /// The tensor of that place in `tensors`.
  std::vector<std::string> fqns;
  /// Of all ranks.
  std::vector<OwnedExtent> extents;

  int64_t nbytes() const { return SafetensorsFileNbytes(head.header); }
};

struct SharedLayout {
  /// In the order of their numbers, those of ranks by rank first; those without
  /// tensors are left out.
  std::vector<SharedLayoutFile> files;
  /// Other names of tensors -> the name under which they are stored.
  std::map<std::string, std::string> aliases;
  int64_t total_nbytes = 0;  ///< of the tensors' data
  int64_t total_parameters = 0;
};

/// Every tensor of `plan` lies whole in one file. Those that are tied
/// (SavePlan::ties) are stored once; the other name stands in the metadata
/// of the file.
/// \error kInvalidArgument  chunks that do not cover their tensor; a tensor
///     without a file in `file_numbers`, one that
///     safetensors has no type for, or an entry that is no tensor; names it
StatusOr<SharedLayout> LayOutSharedFiles(const GlobalPlan& plan,
                                         const SharedLayoutOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_LAYOUT_H_
