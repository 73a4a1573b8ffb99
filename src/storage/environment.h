// The seams that a storage stands on where its user names none.

#ifndef DCP_STORAGE_ENVIRONMENT_H_
#define DCP_STORAGE_ENVIRONMENT_H_

#include "dcp/filesystem_storage.h"

namespace dcp {

/// `environment` with what is empty filled in.
StorageEnvironment WithDefaults(StorageEnvironment environment);

}  // namespace dcp

#endif  // DCP_STORAGE_ENVIRONMENT_H_
