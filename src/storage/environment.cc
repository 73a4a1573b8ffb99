#include "storage/environment.h"

namespace dcp {

StorageEnvironment WithDefaults(StorageEnvironment environment) {
  if (!environment.file_system) {
    environment.file_system = MakePosixFileSystem();
  }
  if (!environment.device_runtime) {
    environment.device_runtime = MakeCudaRuntime();
  }
  if (!environment.clock) environment.clock = MakeSystemClock();
  return environment;
}

}  // namespace dcp
