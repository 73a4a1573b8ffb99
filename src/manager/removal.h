// How the directory of a step is removed.

#ifndef DCP_MANAGER_REMOVAL_H_
#define DCP_MANAGER_REMOVAL_H_

#include <string>
#include <string_view>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// Gives the step's directory `path` a name that is no step's, and returns the
/// new path. All of `environment` is set.
/// \error kAborted  somebody saves into it
StatusOr<std::string> TakeStepAway(const StorageEnvironment& environment,
                                   const std::string& path);

/// Whether TakeStepAway gives `name` to some step.
bool IsRemovalName(std::string_view name);

/// What TakeStepAway made in `folder`, and nobody has removed yet.
/// \error  the folder cannot be listed; one that is not there has none
StatusOr<std::vector<std::string>> FindRemovals(FileSystem& file_system,
                                                const std::string& folder);

/// Removes `path` and all below it. Links are removed, not followed. What is
/// gone already, because somebody else removes it too, is no error.
Status RemoveTree(FileSystem& file_system, const std::string& path);

}  // namespace dcp

#endif  // DCP_MANAGER_REMOVAL_H_
