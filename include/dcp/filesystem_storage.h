// FileSystemWriter and FileSystemReader: PyTorch DCP's own format on any
// FileSystem. src/format/FORMAT.md describes the bytes, src/checkpoint/
// COMMIT.md the order in which they become a checkpoint.

#ifndef DCP_FILESYSTEM_STORAGE_H_
#define DCP_FILESYSTEM_STORAGE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "dcp/clock.h"
#include "dcp/device_runtime.h"
#include "dcp/file_system.h"
#include "dcp/io_engine.h"
#include "dcp/storage.h"
#include "dcp/thread_placement.h"

namespace dcp {

enum class Compression : uint8_t { kNone, kZstd };

/// How bytes move. The defaults suit a local NVMe as well as a network disk.
struct IoOptions {
  IoEngineKind engine = IoEngineKind::kAuto;
  DirectIo direct_io = DirectIo::kTry;
  /// Threads that copy and checksum; 0 chooses by the cores of the machine.
  int workers = 0;
  /// Bytes of one transfer.
  int64_t block_nbytes = int64_t{4} << 20;
  /// Upper bound of the buffers of one save or load, all threads together. Up
  /// to 136 MiB stay with the process for the next one.
  int64_t max_buffer_nbytes = int64_t{128} << 20;
  /// A save fails when its storage is at work and nothing has come to an end
  /// for this long: no transfer, no other call. 0: it waits for ever. Longer
  /// than the pause in which a network file system changes servers.
  Clock::Duration stall_timeout = std::chrono::minutes(5);
  /// Bytes per second that a save of this rank writes at most; 0: as fast as
  /// the storage takes them.
  int64_t max_write_rate = 0;
  /// Of the threads that a save starts to checksum, compress and write.
  ThreadPlacement placement;
};

/// The seams that a storage stands on. Empty ones are filled with the
/// defaults: POSIX files, the CUDA runtime if there is one, the system's clock.
struct StorageEnvironment {
  std::shared_ptr<FileSystem> file_system;
  std::shared_ptr<DeviceRuntime> device_runtime;
  std::shared_ptr<Clock> clock;
};

struct FileSystemWriterOptions {
  /// The checkpoint directory; created if absent.
  std::string path;
  /// "dcpcpp-" and hex digits; made up for each save if empty.
  std::string save_id;
  /// Names the records of other processes that are at work on this save, which
  /// are no leftovers; like `save_id`. Empty: there are none.
  std::string session_id;
  /// One file per item instead of `file_count` files per rank.
  bool single_file_per_rank = true;
  /// Data, metadata and names are durable before the save returns.
  bool sync_files = true;
  /// Files per rank: torch's thread_count.
  int file_count = 1;
  /// Whether a checkpoint that is there may be replaced.
  bool overwrite = true;
  Compression compression = Compression::kNone;
  /// Floating-point tensors are stored in this dtype.
  std::optional<DType> export_dtype;
  /// Recorded in `.metadata`; the path if empty.
  std::string checkpoint_id;
  IoOptions io;
};

/// The native format's writer.
std::unique_ptr<StorageWriter> MakeFileSystemWriter(
    FileSystemWriterOptions options, StorageEnvironment environment = {});

struct FileSystemReaderOptions {
  std::string path;
  /// Check every stored byte that is read against its checksum.
  bool verify = true;
  IoOptions io;
};

/// The native format's reader.
std::unique_ptr<StorageReader> MakeFileSystemReader(
    FileSystemReaderOptions options, StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_FILESYSTEM_STORAGE_H_
