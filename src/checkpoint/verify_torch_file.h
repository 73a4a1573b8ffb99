// Verify, of files of torch.save.

#ifndef DCP_CHECKPOINT_VERIFY_TORCH_FILE_H_
#define DCP_CHECKPOINT_VERIFY_TORCH_FILE_H_

#include <string>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "dcp/verify.h"

namespace dcp {

/// See Verify. `path` is absolute, and of a file; `environment` is complete.
StatusOr<VerifyReport> VerifyTorchFile(const std::string& path,
                                       const VerifyOptions& options,
                                       const StorageEnvironment& environment);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_VERIFY_TORCH_FILE_H_
