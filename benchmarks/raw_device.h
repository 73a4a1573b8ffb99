// raw_device: how fast a directory takes and gives bytes, with nothing of a
// checkpoint around them. It is the bar that saves and loads are held against.
//
// Method: blocks of one size, `queue_depth` of them in flight through one
// IoEngine, round-robin over the files, from page-aligned memory that was
// touched before the clock starts. With direct_io off the transfers are copies
// by the CPU, and every file has a thread and an engine of its own. The time of
// a write runs from before the files are opened until they are synced (if asked
// for) and closed, that of a read from before they are opened until they are
// closed. Every block that was written here carries its number, and a read
// checks it.

#ifndef DCP_BENCHMARKS_RAW_DEVICE_H_
#define DCP_BENCHMARKS_RAW_DEVICE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/io_engine.h"
#include "dcp/status.h"

namespace dcp::benchmarks {

enum class BufferRegistration : uint8_t { kNone, kTry };
enum class Preallocation : uint8_t { kNone, kWholeFile };
/// For reads: files as the cache has them, or dropped from it first (Linux,
/// clean pages only).
enum class PageCache : uint8_t { kAsIs, kCold };

struct RawDeviceOptions {
  std::string directory;  ///< exists; files raw-<i> are made in it
  /// For reads: these files of the directory instead, whatever is in them.
  std::vector<std::string> names;
  /// Of all files together. All files have equally many whole blocks, so what
  /// is moved is this rounded down: see RawDeviceResult::nbytes.
  int64_t nbytes = int64_t{1} << 30;
  int files = 1;
  /// A multiple of 4096. Where a file would not hold one block, blocks are as
  /// large as 4096 bytes times a whole number allow.
  int64_t block_nbytes = int64_t{8} << 20;
  DirectIo direct_io = DirectIo::kTry;
  IoEngineOptions engine;
  BufferRegistration registration = BufferRegistration::kNone;
  Preallocation preallocation = Preallocation::kWholeFile;
  SyncMode sync = SyncMode::kSync;
  PageCache page_cache = PageCache::kCold;
  /// Called once the memory is there, before the clock starts: where several
  /// processes wait for each other.
  std::function<void()> before_start;
};

struct RawDeviceResult {
  int64_t nbytes = 0;  ///< moved
  double seconds = 0;
  double sync_seconds = 0;  ///< the part of it after the last write
  std::string engine;       ///< which one did it
  bool direct = false;      ///< past the page cache
  bool registered = false;  ///< from registered buffers
};

/// Writes new files; raw-<i> must not exist.
/// \error kInvalidArgument  fewer than 4096 bytes a file, or an odd block size
StatusOr<RawDeviceResult> WriteRaw(FileSystem& fs,
                                   const RawDeviceOptions& options);

/// Reads what WriteRaw() wrote with the same nbytes, files and block_nbytes, or
/// the first nbytes / names.size() bytes of each of `names`.
/// \error kDataLoss  a block is not the one that was written
StatusOr<RawDeviceResult> ReadRaw(FileSystem& fs,
                                  const RawDeviceOptions& options);

/// Removes the files.
Status RemoveRaw(FileSystem& fs, const RawDeviceOptions& options);

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_RAW_DEVICE_H_
