// The native storage on every kind of file system, for its tests.

#ifndef DCP_TESTS_STORAGE_STORAGE_CASES_H_
#define DCP_TESTS_STORAGE_STORAGE_CASES_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conformance/storage_conformance.h"
#include "dcp/filesystem_storage.h"
#include "storage/environment.h"
#include "storage/filesystem_writer.h"
#include "storage/limits.h"

namespace dcp {

/// A directory of a file system, and how it is written and read.
struct NativePlace {
  std::shared_ptr<FileSystem> fs;
  std::string directory = "/ckpt";
  FileSystemWriterOptions writer;
  FileSystemReaderOptions reader;
  /// 1: every checkpoint gets indexed metadata.
  size_t min_indexed_items = kMinIndexedItems;
};

/// Few threads and little memory, as suits many small checkpoints.
inline IoOptions ModestIo(IoEngineKind engine) {
  return {.engine = engine,
          .workers = 2,
          .block_nbytes = int64_t{1} << 20,
          .max_buffer_nbytes = int64_t{8} << 20};
}

inline conformance::StorageUnderTest NativeStorage(
    std::shared_ptr<const NativePlace> place) {
  return {.make_writer =
              [place] {
                FileSystemWriterOptions options = place->writer;
                options.path = place->directory;
                return std::make_unique<FileSystemWriter>(
                    options, WithDefaults({.file_system = place->fs}),
                    place->min_indexed_items);
              },
          .make_reader =
              [place] {
                FileSystemReaderOptions options = place->reader;
                options.path = place->directory;
                return MakeFileSystemReader(options,
                                            {.file_system = place->fs});
              }};
}

inline conformance::StorageUnderTest NativeStorage(NativePlace place) {
  return NativeStorage(std::make_shared<const NativePlace>(std::move(place)));
}

}  // namespace dcp

#endif  // DCP_TESTS_STORAGE_STORAGE_CASES_H_
