// ArchiveFile: the few POSIX calls that the archive needs.
//
// libdcp's own dcp::FileSystem is not used here because it has no way for a
// second rank to write into a file that the first one made: the native format
// never needs it. A storage is free to talk to whatever it likes.

#ifndef EXAMPLES_ARCHIVE_FILE_H_
#define EXAMPLES_ARCHIVE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "dcp/status.h"

namespace examples {

/// An open file; closed when it goes. Errors carry operation, path and offset.
class ArchiveFile {
 public:
  enum class Mode { kRead, kWrite, kCreateNew };
  static dcp::StatusOr<ArchiveFile> Open(const std::string& path, Mode mode);

  ArchiveFile(ArchiveFile&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  ArchiveFile& operator=(ArchiveFile&&) = delete;
  ~ArchiveFile();

  /// \error kDataLoss  the file ends before the last byte
  dcp::Status Read(uint64_t offset, std::span<std::byte> bytes);
  dcp::Status Write(uint64_t offset, std::span<const std::byte> bytes);
  /// Reserves room on the disk.
  /// \error kResourceExhausted  there is none
  dcp::Status Allocate(uint64_t nbytes);
  dcp::StatusOr<uint64_t> Size();
  dcp::Status Sync();
  /// Reports what close(2) reports, once.
  dcp::Status Close();

 private:
  ArchiveFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  dcp::Status Failed(const char* op, int error_number) const;

  std::string path_;
  int fd_;
};

bool FileExists(const std::string& path);
/// Replaces `to`, and makes the name durable if `sync_directory`.
enum class NameSync { kNo, kYes };
dcp::Status RenameFile(const std::string& from, const std::string& to,
                       NameSync sync);
void RemoveFile(const std::string& path);

}  // namespace examples

#endif  // EXAMPLES_ARCHIVE_FILE_H_
