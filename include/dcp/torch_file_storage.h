// Files of torch.save as a storage: a whole state dict in one zip archive.

#ifndef DCP_TORCH_FILE_STORAGE_H_
#define DCP_TORCH_FILE_STORAGE_H_

#include <memory>
#include <string>

#include "dcp/filesystem_storage.h"
#include "dcp/storage.h"

namespace dcp {

struct TorchFileWriterOptions {
  /// Its directory must exist.
  std::string path;
  /// Data and name are durable before the save returns.
  bool sync_files = true;
  IoOptions io;
};

/// Writes the file that torch.save makes of the nested state dict, for
/// torch.load(weights_only=True), mmap=True included. One process alone, whole
/// tensors; objects are copied into it as they are, of classes by their names.
///
/// The file grows under another name beside `path` ("<path>.<hex>.partial") and
/// replaces it in one step when it is complete and durable; a process that is
/// killed leaves it behind. Takes streams: what
/// has to be in memory is the pickle, and the objects.
/// \error kUnimplemented  several ranks, a part of a tensor, an object that
/// only
///     Python can copy, a file system without renaming
std::unique_ptr<StorageWriter> MakeTorchFileWriter(
    TorchFileWriterOptions options, StorageEnvironment environment = {});

struct TorchFileReaderOptions {
  std::string path;
  /// Check what is read against the CRC-32s of the archive.
  bool verify = true;
  IoOptions io;
};

/// Reads what torch.save wrote, tensors wherever the nested state dict has
/// them. Nothing that the file names is called. Keys and paths are those that
/// torch gives to a state dict when it saves a distributed checkpoint.
///
/// Objects, and tensors that only torch can rebuild, are served as torch.save
/// would have written each of them.
/// \error kInvalidArgument  from ReadIndex: a file of torch.save before 1.6,
///     which is no archive; it holds no dict; two keys are equal when flat
/// \error kDataLoss  a damaged file, or one that calls what no checkpoint needs
std::unique_ptr<StorageReader> MakeTorchFileReader(
    TorchFileReaderOptions options, StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_TORCH_FILE_STORAGE_H_
