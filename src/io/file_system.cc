#include "dcp/file_system.h"

namespace dcp {

StatusOr<std::unique_ptr<FileLock>> FileSystem::Lock(const std::string&,
                                                     const std::string&) {
  return Unimplemented("no locks in file system " + traits().name);
}

}  // namespace dcp
