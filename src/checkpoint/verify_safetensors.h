// Verify, of safetensors files.

#ifndef DCP_CHECKPOINT_VERIFY_SAFETENSORS_H_
#define DCP_CHECKPOINT_VERIFY_SAFETENSORS_H_

#include <string>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "dcp/verify.h"

namespace dcp {

/// See Verify. `directory` holds safetensors files or an index of such;
/// `environment` is complete.
StatusOr<VerifyReport> VerifySafetensors(const std::string& directory,
                                         const VerifyOptions& options,
                                         const StorageEnvironment& environment);

/// The same of the one safetensors file at `path`, which is absolute, whatever
/// is beside it but a sidecar that lists it.
StatusOr<VerifyReport> VerifySafetensorsFile(
    const std::string& path, const VerifyOptions& options,
    const StorageEnvironment& environment);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_VERIFY_SAFETENSORS_H_
