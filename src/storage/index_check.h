// The metadata of a checkpoint, its sidecar and its index, as far as they can
// be had.

#ifndef DCP_STORAGE_INDEX_CHECK_H_
#define DCP_STORAGE_INDEX_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "format/sidecar.h"
#include "storage/damage_log.h"

namespace dcp {

struct CheckedIndex {
  /// nullopt if the file cannot be read or parsed.
  std::optional<Metadata> metadata;
  /// Of dcp's checkpoints. Where the metadata is damaged, the sidecar that
  /// must have been its own, if there is one.
  std::optional<Sidecar> sidecar;
  bool is_ours = false;
  std::string save_id;
};

/// Reads and checks `name` in `directory`, its sidecar and the index that this
/// names. Damage goes to `log`.
/// \error kNotFound  there is no such file
StatusOr<CheckedIndex> CheckIndex(FileSystem& file_system,
                                  const std::string& directory,
                                  const std::string& name, DamageLog& log);

}  // namespace dcp

#endif  // DCP_STORAGE_INDEX_CHECK_H_
