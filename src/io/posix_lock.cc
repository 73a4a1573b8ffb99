// How a lock file comes and goes:
//
// 1. The lock is one of the open file description (fcntl(2), F_OFD_SETLK): the
//    kernel frees it when the last descriptor is closed, so at the death of the
//    process at the latest. Those of flock(2) are local on some network file
//    systems; the classic ones of fcntl(2) are lost when any descriptor of the
//    file is closed, and do not see other threads.
// 2. The holder removes the file before it frees the lock. Somebody may have
//    opened the file before and get the lock of a file without a name; so, with
//    the lock in hand, one looks whether the name still leads to this file, and
//    begins again if not.
// 3. So a file that is there, unlocked, is what a dead holder left: with the
//    lock comes the knowledge that something may need to be tidied up.
// 4. The file belongs to the lock alone. It is opened without following links.

#include "io/posix_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/guarded.h"
#include "base/unique_fd.h"
#include "io/fork_closed_fd.h"
#include "io/fork_guard.h"

namespace dcp {
namespace {

constexpr int kMaxAttempts = 100;

bool MeansNoLocks(int error) {
  return error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS ||
         error == EINVAL;
}

StatusOr<bool> NameLeadsTo(const std::string& path, int fd) {
  struct stat by_name = {};
  struct stat by_fd = {};
  if (::fstat(fd, &by_fd) != 0) {
    return ErrnoToStatus(errno, {.op = "fstat", .path = path});
  }
  if (::lstat(path.c_str(), &by_name) != 0) {
    if (errno == ENOENT) return false;
    return ErrnoToStatus(errno, {.op = "lstat", .path = path});
  }
  return by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

/// What the holder wrote about itself, as one line.
std::string OwnerIn(int fd) {
  std::array<char, 200> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  std::string owner(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  for (char& c : owner) {
    if (c < ' ' || c > '~') c = ' ';
  }
  while (owner.ends_with(' ')) owner.pop_back();
  return owner.empty() ? "somebody else" : owner;
}

class PosixLock final : public FileLock {
 public:
  PosixLock(std::string path, UniqueFd fd, bool was_abandoned)
      : path_(std::move(path)),
        fd_(std::move(fd)),
        was_abandoned_(was_abandoned) {}
  ~PosixLock() override {
    if (Guarded([this] { return Check(); }).ok()) (void)::unlink(path_.c_str());
  }

  Status Check() const override {
    DCP_RETURN_IF_ERROR(fork_guard_.Check());
    DCP_ASSIGN_OR_RETURN(const bool is_ours, NameLeadsTo(path_, fd_.get()));
    if (is_ours) return absl::OkStatus();
    return MakeStatus(absl::StatusCode::kAborted,
                      path_ + " was removed or replaced");
  }
  bool was_abandoned() const override { return was_abandoned_; }

 private:
  const ForkGuard fork_guard_;
  const std::string path_;
  const ForkClosedFd fd_;
  const bool was_abandoned_;
};

/// Opens the lock's file; `*is_new` tells whether this made it.
StatusOr<UniqueFd> OpenLockFile(const std::string& path, bool* is_new) {
  constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  constexpr mode_t kMode = 0666;  // less the umask
  for (int i = 0; i < kMaxAttempts; ++i) {
    UniqueFd fd(::open(path.c_str(), kFlags | O_CREAT | O_EXCL, kMode));
    *is_new = fd.ok();
    if (fd.ok()) return fd;
    if (errno == EEXIST) fd = UniqueFd(::open(path.c_str(), kFlags));
    if (fd.ok()) return fd;
    if (errno != ENOENT && errno != EINTR) break;  // ENOENT: it went just now
  }
  return ErrnoToStatus(errno, {.op = "open", .path = path});
}

struct flock LockOfWholeFile() {
  struct flock whole_file = {};
  whole_file.l_type = F_WRLCK;
  whole_file.l_whence = SEEK_SET;
  return whole_file;
}

Status LockError(int error, const std::string& path) {
  const Status status = ErrnoToStatus(error, {.op = "fcntl", .path = path});
  return MeansNoLocks(error) ? Unimplemented(Message(status)) : status;
}

Status TakeLock(int fd, const std::string& path) {
  struct flock whole_file = LockOfWholeFile();
  if (::fcntl(fd, F_OFD_SETLK, &whole_file) == 0) return absl::OkStatus();
  const int error = errno;
  if (error == EAGAIN || error == EACCES) {
    return MakeStatus(absl::StatusCode::kAborted,
                      path + " is locked by " + OwnerIn(fd));
  }
  return LockError(error, path);
}

/// For people only; a full disk does not matter here. What has other names,
/// too, may be a file of somebody else, linked here to be overwritten.
void WriteOwner(int fd, const std::string& owner) {
  struct stat file = {};
  if (::fstat(fd, &file) != 0 || file.st_nlink != 1) return;
  const bool written = ::ftruncate(fd, 0) == 0 &&
                       ::pwrite(fd, owner.data(), owner.size(), 0) >= 0;
  (void)written;
}

}  // namespace

StatusOr<std::unique_ptr<FileLock>> LockPosixFile(const std::string& path,
                                                  const std::string& owner) {
  for (int i = 0; i < kMaxAttempts; ++i) {
    bool is_new = false;
    DCP_ASSIGN_OR_RETURN(UniqueFd fd, OpenLockFile(path, &is_new));
    Status locked = TakeLock(fd.get(), path);
    if (!locked.ok()) {
      if (is_new && locked.code() != absl::StatusCode::kAborted) {
        (void)::unlink(path.c_str());
      }
      return locked;
    }
    DCP_ASSIGN_OR_RETURN(const bool is_named, NameLeadsTo(path, fd.get()));
    if (!is_named) continue;
    WriteOwner(fd.get(), owner);
    return std::make_unique<PosixLock>(path, std::move(fd), !is_new);
  }
  return MakeStatus(absl::StatusCode::kAborted,
                    path + " is being locked and freed all the time");
}

StatusOr<std::optional<std::string>> PosixLockOwner(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  const UniqueFd fd(::open(path.c_str(), kFlags));
  if (!fd.ok()) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoToStatus(errno, {.op = "open", .path = path});
  }
  struct flock found = LockOfWholeFile();
  if (::fcntl(fd.get(), F_OFD_GETLK, &found) != 0) {
    return LockError(errno, path);
  }
  if (found.l_type == F_UNLCK) return std::optional<std::string>();
  return std::optional<std::string>(OwnerIn(fd.get()));
}

}  // namespace dcp
