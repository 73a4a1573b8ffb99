// FileSystem and File: the seam to storage.
//
// Implementations: POSIX (MakePosixFileSystem), memory (MakeMemoryFileSystem,
// for tests and as an example), fsspec (in the Python package), and what users
// add. tests/cpp/conformance/file_system_conformance.h checks any of them.

#ifndef DCP_FILE_SYSTEM_H_
#define DCP_FILE_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// A piece of memory that an I/O call fills or drains.
struct IoSlice {
  std::byte* data = nullptr;
  size_t nbytes = 0;
};

enum class DirectIo : uint8_t {
  kOff,      ///< through the page cache
  kTry,      ///< past it where the file system can, else through it
  kRequire,  ///< past it, or the open fails with kUnimplemented
};

/// Alignment that direct I/O asks of memory, offsets and lengths, in bytes.
struct DirectIoAlignment {
  int64_t memory = 4096;
  int64_t offset = 4096;
};

/// One open file. Reads and writes on disjoint ranges may run concurrently.
class File {
 public:
  virtual ~File() = default;  ///< closes; errors are lost, so Close() first

  virtual const std::string& path() const = 0;

  /// Reads exactly the bytes of all slices, in order, from `byte_offset`.
  /// Retries short reads and EINTR.
  /// \error kDataLoss  the file ends before the last byte
  virtual Status ReadFully(int64_t byte_offset,
                           std::span<const IoSlice> slices) = 0;

  /// Reads only what is in memory already (the page cache), without waiting
  /// for a device. Returns the number of leading bytes read, 0 if none or if
  /// the file system cannot tell.
  virtual StatusOr<int64_t> ReadCached(int64_t byte_offset,
                                       std::span<const IoSlice> slices) = 0;

  /// Writes exactly the bytes of all slices at `byte_offset`, retrying short
  /// writes and EINTR. Not durable until Sync() returned OK. Where
  /// FileSystemTraits::positional_writes is false, `byte_offset` must be the
  /// current end of the file.
  /// \error kResourceExhausted  the disk is full
  virtual Status WriteFully(int64_t byte_offset,
                            std::span<const IoSlice> slices) = 0;

  virtual StatusOr<int64_t> Size() = 0;
  /// Sets the size: cuts padding, or reserves. Needs positional_writes.
  virtual Status Truncate(int64_t nbytes) = 0;
  /// Reserves blocks for `nbytes` where that is possible; no-op elsewhere. May
  /// extend the file to `nbytes`, never shortens it.
  /// \error kResourceExhausted  there is no room
  virtual Status Allocate(int64_t nbytes) = 0;
  /// Makes data and size durable. Never retried after an error: the kernel
  /// may have dropped the pages (fsyncgate).
  virtual Status Sync() = 0;
  /// Closes and reports the error that close(2) reports; later calls fail.
  virtual Status Close() = 0;

  /// Set iff direct I/O is in use for aligned requests.
  virtual std::optional<DirectIoAlignment> direct_io() const {
    return std::nullopt;
  }
  /// Descriptors for an io_uring engine: `fd()` goes through the page cache or
  /// is -1 if there is none; `direct_fd()` past it, or -1.
  virtual int fd() const { return -1; }
  virtual int direct_fd() const { return -1; }
};

enum class OpenMode : uint8_t {
  kRead,  ///< reads only; a write fails
  /// Creates; fails if the name exists, and never follows a link. Writes only;
  /// a read fails.
  kCreateNew,
  /// Creates, or replaces what is there when the file is closed. Only for file
  /// systems without FileSystemTraits::atomic_rename, where this is how an
  /// object is published; kUnimplemented elsewhere. Writes only.
  kReplace,
  /// Opens what kCreateNew made, to write a part of it beside others who write
  /// other parts. Never creates, shortens or follows a link. Writes only. Needs
  /// FileSystemTraits::positional_writes; kUnimplemented elsewhere.
  kShared,
};

struct OpenOptions {
  OpenMode mode = OpenMode::kRead;
  DirectIo direct_io = DirectIo::kOff;
  /// For kRead: a directory that the file must lie beneath after all links are
  /// resolved; `path` must begin with it. Links inside may be relative only, as
  /// with openat2(2) RESOLVE_BENEATH. Empty: no check.
  std::string beneath;
};

struct FileSystemTraits {
  /// "posix", "memory", "fsspec:s3", ... for logs.
  std::string name;
  /// Writes may go to any offset, from several threads.
  bool positional_writes = true;
  /// Rename() replaces the target atomically. Without it, the commit object is
  /// written last under its final name.
  bool atomic_rename = true;
  /// Names become durable by SyncDirectory().
  bool directory_sync = true;
};

struct SpaceInfo {
  int64_t free_nbytes = 0;
  /// Equal for two paths that share their free space, on any host.
  std::string pool;
};

enum class FileKind : uint8_t { kFile, kDirectory, kOther };

struct DirectoryEntry {
  std::string name;
  FileKind kind = FileKind::kFile;
  bool is_link = false;  ///< whether the name is a link to that
};

/// An exclusive lock of one path. The destructor frees it, and so does the
/// system when the process dies. A forked child does not inherit it.
class FileLock {
 public:
  virtual ~FileLock() = default;
  /// Whether the lock still keeps others out.
  /// \error kAborted  its file was removed or replaced
  /// Other errors: nobody can tell.
  virtual Status Check() const = 0;
  /// Whether its holder before us died without freeing it.
  virtual bool was_abandoned() const = 0;
};

/// Names, directories and the opening of files. Thread-safe.
///
/// Paths are UTF-8, '/'-separated, absolute or relative to the process.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual const FileSystemTraits& traits() const = 0;

  /// `path` in a form that names the same when the process has changed its
  /// working directory since. The default is for file systems without one.
  virtual std::string Absolute(const std::string& path) const { return path; }

  /// \error kNotFound, kPermissionDenied, kAlreadyExists (kCreateNew)
  /// \error kInvalidArgument  not a regular file, or outside `beneath`
  virtual StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                               const OpenOptions& options) = 0;
  /// Creates `path` and its parents; fine if it is there already.
  virtual Status MakeDirectories(const std::string& path) = 0;
  /// Entries of a directory without "." and "..", unsorted. A link counts as
  /// what it points to, and as kOther if that is missing.
  virtual StatusOr<std::vector<DirectoryEntry>> List(
      const std::string& path) = 0;
  virtual StatusOr<bool> Exists(const std::string& path) = 0;
  /// Replaces `to` if it exists. See FileSystemTraits::atomic_rename.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  /// Exchanges what two names stand for, files or directories, in one step: at
  /// no time is one of them missing (renameat2(2) RENAME_EXCHANGE).
  /// \error kUnimplemented  the file system cannot do that (the default)
  virtual Status Exchange(const std::string& a, const std::string& b);
  /// Gives the file at `from` a second name (a hard link).
  /// \error kAlreadyExists  `to` exists
  /// \error kUnimplemented  the file system cannot do that (the default), or
  /// not
  ///     for this file: it is on another device, or somebody else's
  virtual Status Link(const std::string& from, const std::string& to);
  /// Removes a file (not a directory).
  virtual Status Remove(const std::string& path) = 0;
  /// Removes an empty directory.
  /// \error kUnimplemented  there are no directories (the default)
  virtual Status RemoveDirectory(const std::string& path);
  /// Creates the empty directory `path`, beside the directory `model`, with the
  /// owner, group and permissions of that one, so that it can take its place.
  /// \error kAlreadyExists  `path` exists
  /// \error kUnimplemented  `model` is a link, or has what cannot be copied
  /// (the
  ///     default: whatever it has)
  virtual Status MakeDirectoryLike(const std::string& path,
                                   const std::string& model);
  /// Makes the names in a directory durable.
  virtual Status SyncDirectory(const std::string& path) = 0;
  /// nullopt where free space is unknown or unlimited.
  virtual StatusOr<std::optional<SpaceInfo>> Space(const std::string& path) = 0;

  /// Locks `path` against every other Lock() of it, in this process and in
  /// others. Never waits. May make a file there, which goes with the lock;
  /// `owner` is written into it, for people and for the error of those who come
  /// too late.
  /// \error kAborted  somebody holds the lock; names the owner
  /// \error kUnimplemented  there are no locks here (the default)
  virtual StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                                   const std::string& owner);

  /// Who has locked `path`, in the words given to Lock(); nullopt if nobody
  /// has. Takes no lock and makes no file.
  /// \error kUnimplemented  there are no locks here (the default)
  virtual StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path);
};

std::shared_ptr<FileSystem> MakePosixFileSystem();
/// Files in this process's memory; `/` exists.
std::shared_ptr<FileSystem> MakeMemoryFileSystem();

/// `directory` + "/" + `name`.
std::string JoinPath(std::string_view directory, std::string_view name);

/// Reads a whole file; `options.mode` must be kRead.
/// \error kResourceExhausted  it is larger than `max_nbytes`
StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path,
                               int64_t max_nbytes, const OpenOptions& options);

enum class SyncMode : uint8_t { kNone, kSync };

/// As WriteFile, with OpenMode::kReplace.
Status ReplaceFile(FileSystem& fs, const std::string& path,
                   std::string_view content, SyncMode sync);

/// Creates `path` exclusively with `content`, closed when this returns. With
/// kSync the content is durable; the name is so after SyncDirectory(). After an
/// error the file is removed again, as far as that works.
/// \error kAlreadyExists  `path` exists (and is left alone)
Status WriteFile(FileSystem& fs, const std::string& path,
                 std::string_view content, SyncMode sync);

}  // namespace dcp

#endif  // DCP_FILE_SYSTEM_H_
