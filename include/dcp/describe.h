// Describe: what a checkpoint holds and where, without reading its tensors.

#ifndef DCP_DESCRIBE_H_
#define DCP_DESCRIBE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dcp/checkpoint_format.h"
#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

struct DescribedTensor {
  std::string fqn;
  DType dtype = DType::kFloat32;
  Dims shape;
  int64_t nbytes = 0;  ///< of its elements
  int64_t chunks = 0;
  /// Positions in CheckpointDescription::files, ascending.
  std::vector<size_t> files;
};

struct DescribedObject {
  std::string fqn;
  int64_t nbytes = 0;  ///< as stored
  std::vector<size_t> files;
};

struct DescribedFile {
  std::string name;    ///< below the checkpoint's directory
  int64_t nbytes = 0;  ///< of what it stores; what keys share counts once
};

/// Tensors that have something in common.
struct TensorTotal {
  std::string name;  ///< of the dtype, or the module
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t nbytes = 0;
};

struct CheckpointDescription {
  CheckpointFormat format = CheckpointFormat::kDcp;
  std::string save_id;  ///< empty if there is none
  /// Whether dcp wrote it, with checksums of its own.
  bool is_ours = false;
  /// By the name of its directory, step-<number>, or what dcp wrote down.
  std::optional<int64_t> step;
  /// How many ranks have files of their own; nullopt: the names do not say.
  std::optional<int64_t> ranks;
  int64_t tensor_count = 0;
  int64_t object_count = 0;
  /// In the checkpoint's order. Empty with DescribeDepth::kTotals.
  std::vector<DescribedTensor> tensors;
  std::vector<DescribedObject> objects;  ///< likewise
  std::vector<DescribedFile> files;      ///< with data, by name
  int64_t elements = 0;                  ///< of all tensors
  int64_t nbytes = 0;                    ///< of all tensors' elements
  /// The largest first. A module is what keys begin with, up to a dot.
  std::vector<TensorTotal> by_dtype;
  std::vector<TensorTotal> by_module;
};

enum class DescribeDepth : uint8_t {
  kItems,   ///< all
  kTotals,  ///< all but the tensors and objects themselves
};

struct DescribeOptions {
  DescribeDepth depth = DescribeDepth::kItems;
  IoOptions io;
};

/// Describes a directory in the native format, whoever wrote it, or of
/// safetensors files; a single safetensors file; or a file of torch.save. A
/// tensor that has several names counts for each.
///
/// Reads metadata, headers, and of a torch file its pickle and objects; it runs
/// nothing that these name. Totals of a checkpoint with indexed metadata come
/// from these alone, without a read of `.metadata` but for its size and its
/// last bytes: who wants to know that it is whole verifies the checkpoint.
/// \error kNotFound  there is no checkpoint
/// \error kInvalidArgument  the directory holds both formats
/// \error kDataLoss  what was read is damaged
StatusOr<CheckpointDescription> Describe(const std::string& path,
                                         const DescribeOptions& options = {},
                                         StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_DESCRIBE_H_
