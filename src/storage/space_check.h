// Whether a save fits on its disks, before a byte is written.

#ifndef DCP_STORAGE_SPACE_CHECK_H_
#define DCP_STORAGE_SPACE_CHECK_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/plan.h"
#include "dcp/status.h"

namespace dcp {

/// One rank's free space as a message for the coordinator.
std::string EncodeSpace(const std::optional<SpaceInfo>& space);

/// Adds up what the ranks of each pool are to write and compares it with what
/// is free there. `spaces[i]` is EncodeSpace's of the rank with `plans[i]`;
/// `now` was measured later, after something was removed.
/// \error kResourceExhausted  with errno ENOSPC; says needed and free bytes
Status CheckSpace(std::span<const SavePlan> plans,
                  std::span<const std::string> spaces,
                  const std::optional<SpaceInfo>& now, const std::string& path);

}  // namespace dcp

#endif  // DCP_STORAGE_SPACE_CHECK_H_
