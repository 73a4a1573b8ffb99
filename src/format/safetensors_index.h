// model.safetensors.index.json: which file of several holds which tensor.

#ifndef DCP_FORMAT_SAFETENSORS_INDEX_H_
#define DCP_FORMAT_SAFETENSORS_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dcp/status.h"

namespace dcp {

inline constexpr std::string_view kSafetensorsIndexName =
    "model.safetensors.index.json";
/// Of a checkpoint of one file, which needs no index. transformers 5 prefers it
/// to any.
inline constexpr std::string_view kSafetensorsSingleName = "model.safetensors";
/// What follows the stem in the name of an index.
inline constexpr std::string_view kSafetensorsIndexSuffix =
    ".safetensors.index.json";
/// Of an index that is read; the reference has no limit.
inline constexpr size_t kMaxSafetensorsIndexNbytes = 100'000'000;

struct SafetensorsIndex {
  /// Bytes of all tensors' data, what they share counted once. nullopt: not
  /// there, or no whole number (old versions of transformers wrote fractions).
  std::optional<int64_t> total_size;
  std::optional<int64_t> total_parameters;  ///< elements; the same
  /// Of the save by dcp that wrote it, IsDcpcppSaveId: it names the sidecar.
  /// What is no such id is ignored.
  std::optional<std::string> save_id;
  /// Tensor to file, a path below the index's directory.
  std::map<std::string, std::string> weight_map;
  bool operator==(const SafetensorsIndex&) const = default;
};

/// Whether `name` may stand in a weight map: a relative path of parts that are
/// neither empty nor "." or "..", without NULs and backslashes.
bool IsSafetensorsFilePath(std::string_view name);

/// Memory is proportional to `text`. Other keys than these are ignored.
///
/// \error kDataLoss  no such index, or one of more than
///     kMaxSafetensorsIndexNbytes; names the tensor if there is one
StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view text);

/// As transformers 5 writes it, but for `save_id`.
///
/// \error kInvalidArgument  ParseSafetensorsIndex would not accept it
StatusOr<std::string> SerializeSafetensorsIndex(const SafetensorsIndex& index);

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_INDEX_H_
