#include "dcp/file_system.h"

namespace dcp {

StatusOr<std::unique_ptr<FileLock>> FileSystem::Lock(const std::string&,
                                                     const std::string&) {
  return Unimplemented("no locks in file system " + traits().name);
}

StatusOr<std::optional<std::string>> FileSystem::LockOwner(const std::string&) {
  return Unimplemented("no locks in file system " + traits().name);
}

Status FileSystem::Exchange(const std::string&, const std::string&) {
  return Unimplemented("names cannot be exchanged in file system " +
                       traits().name);
}

Status FileSystem::Link(const std::string&, const std::string&) {
  return Unimplemented("no hard links in file system " + traits().name);
}

Status FileSystem::RemoveDirectory(const std::string&) {
  return Unimplemented("no directories in file system " + traits().name);
}

Status FileSystem::MakeDirectoryLike(const std::string&,
                                     const std::string& model) {
  return Unimplemented("no directory can be made like " + model +
                       " in file system " + traits().name);
}

}  // namespace dcp
