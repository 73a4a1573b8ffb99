// What is read of a step's directory to tell whether it can be loaded.

#ifndef DCP_CHECKPOINT_STEP_INDEX_H_
#define DCP_CHECKPOINT_STEP_INDEX_H_

#include <string>

#include "dcp/filesystem_storage.h"
#include "dcp/latest.h"
#include "dcp/storage.h"

namespace dcp {

/// The metadata of the checkpoint in the directory `path`, as options.check
/// asks (FindLatest). `environment` has a file system.
/// \error  why the step does not count
StatusOr<CheckpointIndex> ReadStepIndex(const std::string& path,
                                        const FindLatestOptions& options,
                                        const StorageEnvironment& environment);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_STEP_INDEX_H_
