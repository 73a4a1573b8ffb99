// A file system of a third party: files in the memory of this process.
//
// It derives from dcp::FileSystem, uses headers of dcp/ only, and then carries
// checkpoints in PyTorch's own format: pass it in a StorageEnvironment, or
// register it under a URL scheme (example_plugin.cc).
//
//   const auto fs = examples::MakeMemoryFileSystem();
//   const auto writer =
//       dcp::MakeFileSystemWriter({.path = "/ckpt"}, {.file_system = fs});

#ifndef EXAMPLES_MEMORY_FILE_SYSTEM_H_
#define EXAMPLES_MEMORY_FILE_SYSTEM_H_

#include <memory>

#include "dcp/file_system.h"

namespace examples {

/// Empty but for "/". Relative paths begin there.
std::shared_ptr<dcp::FileSystem> MakeMemoryFileSystem();

}  // namespace examples

#endif  // EXAMPLES_MEMORY_FILE_SYSTEM_H_
