#include "archive_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace examples {
namespace {

int FlagsOf(ArchiveFile::Mode mode) {
  switch (mode) {
    case ArchiveFile::Mode::kRead:
      return O_RDONLY | O_CLOEXEC;
    case ArchiveFile::Mode::kWrite:
      return O_WRONLY | O_CLOEXEC | O_NOFOLLOW;
    case ArchiveFile::Mode::kCreateNew:
      return O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

dcp::StatusOr<ArchiveFile> ArchiveFile::Open(const std::string& path,
                                             Mode mode) {
  const int fd = ::open(path.c_str(), FlagsOf(mode), 0666);
  if (fd >= 0) return ArchiveFile(path, fd);
  return dcp::ErrnoToStatus(errno, {.op = "open", .path = path});
}

ArchiveFile::~ArchiveFile() {
  if (fd_ >= 0) ::close(fd_);  // whoever wants to know calls Close()
}

dcp::Status ArchiveFile::Failed(const char* op, int error_number) const {
  return dcp::ErrnoToStatus(error_number, {.op = op, .path = path_});
}

dcp::Status ArchiveFile::Read(uint64_t offset, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("pread", errno);
    if (n == 0) {
      return dcp::CorruptionError(
          "the file is too short",
          {.op = "pread",
           .path = path_,
           .byte_offset = static_cast<int64_t>(offset),
           .nbytes = static_cast<int64_t>(bytes.size())});
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

dcp::Status ArchiveFile::Write(uint64_t offset,
                               std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("pwrite", errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

dcp::Status ArchiveFile::Allocate(uint64_t nbytes) {
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(nbytes));
  return error == 0 ? dcp::Status() : Failed("posix_fallocate", error);
}

dcp::StatusOr<uint64_t> ArchiveFile::Size() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return Failed("fstat", errno);
  return static_cast<uint64_t>(info.st_size);
}

dcp::Status ArchiveFile::Sync() {
  return ::fsync(fd_) == 0 ? dcp::Status() : Failed("fsync", errno);
}

dcp::Status ArchiveFile::Close() {
  const int fd = std::exchange(fd_, -1);
  return ::close(fd) == 0 ? dcp::Status() : Failed("close", errno);
}

bool FileExists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

dcp::Status RenameFile(const std::string& from, const std::string& to,
                       NameSync sync) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return dcp::ErrnoToStatus(errno, {.op = "rename", .path = from});
  }
  if (sync == NameSync::kNo) return {};
  DCP_ASSIGN_OR_RETURN(
      ArchiveFile directory,
      ArchiveFile::Open(DirectoryOf(to), ArchiveFile::Mode::kRead));
  return directory.Sync();
}

void RemoveFile(const std::string& path) { ::unlink(path.c_str()); }

}  // namespace examples
