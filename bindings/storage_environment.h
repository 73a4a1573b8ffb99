// The seams of storages that Python asks for.

#ifndef DCP_BINDINGS_STORAGE_ENVIRONMENT_H_
#define DCP_BINDINGS_STORAGE_ENVIRONMENT_H_

#include <memory>
#include <optional>

#include "dcp/filesystem_storage.h"

namespace dcp {

/// None: the machine's own.
using MaybeFileSystem = std::optional<std::shared_ptr<FileSystem>>;

inline StorageEnvironment Environment(const MaybeFileSystem& file_system) {
  return {.file_system = file_system.value_or(MakePosixFileSystem()),
          .device_runtime = MakeCudaRuntime(),
          .clock = MakeSystemClock()};
}

}  // namespace dcp

#endif  // DCP_BINDINGS_STORAGE_ENVIRONMENT_H_
