// Names in a checkpoint are untrusted: they may be, or lead through links to,
// anything. What is checked, in which order:
//
// 1. Reading opens with O_NONBLOCK, or a FIFO planted under the name would hold
//    the open for ever (fifo(7)); then fstat(2) on what was opened, so that
//    nothing can be swapped in between. Regular files only.
// 2. O_NONBLOCK is taken off again: io_uring hands a read of such a file back
//    with EAGAIN instead of doing it in the background.
// 3. Beneath a directory, openat2(2) with RESOLVE_BENEATH does the checking in
//    the kernel: "..", absolute names and links that leave give EXDEV; magic
//    links (/proc/<pid>/fd/<n>) give ELOOP.
// 4. Where openat2 is missing (ENOSYS before Linux 5.6) or forbidden (EPERM by
//    old seccomp filters), or keeps seeing renames (EAGAIN), BeneathWalk
//    gives the same answers: it opens one component after the other with
//    O_NOFOLLOW, reads links itself, keeps the directories it came through as
//    descriptors and answers ".." from that stack, never by asking the kernel.
// 5. Creating uses O_EXCL: with O_CREAT it fails on anything that is there, a
//    dangling link included (open(2)).
// 6. Who writes a part of a file that another process created follows no link
//    at its end either, and looks at what was opened as in 1 and 2.

#include "io/posix_open.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string_view>
#include <utility>
#include <vector>

#include "io/paths.h"

namespace dcp {
namespace {

constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
constexpr int kMaxLinks = 40;  // as the kernel, path_resolution(7)
constexpr int kMaxAttempts = 100;

/// Calls `open` until it is not interrupted.
template <typename Call>
UniqueFd Uninterrupted(const Call& open) {
  int fd = -1;
  for (int i = 0; i < kMaxAttempts; ++i) {
    fd = open();
    if (fd >= 0 || errno != EINTR) break;
  }
  return UniqueFd(fd);
}

Status NotARegularFile(const std::string& path) {
  return InvalidArgument("not a regular file: " + path);
}

Status OpenError(int error_number, const std::string& path) {
  // What open(2) says of a socket or a device without a driver.
  if (error_number == ENXIO || error_number == ENODEV) {
    return NotARegularFile(path);
  }
  return ErrnoToStatus(error_number, {.op = "open", .path = path});
}

/// The checks 1 and 2 above, on what was opened.
StatusOr<UniqueFd> RegularFilesOnly(UniqueFd fd, const std::string& path) {
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "fstat", .path = path});
  }
  if (!S_ISREG(info.st_mode)) return NotARegularFile(path);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return ErrnoToStatus(errno, {.op = "fcntl", .path = path});
  }
  return fd;
}

/// Essay point 4. Errors are left in errno, as system calls leave them.
class BeneathWalk {
 public:
  explicit BeneathWalk(UniqueFd root) {
    directories_.push_back(std::move(root));
  }

  UniqueFd Open(std::string_view relative) {
    Push(relative);
    while (!todo_.empty()) {
      const std::string part = std::move(todo_.back());
      todo_.pop_back();
      if (part == "..") {
        if (directories_.size() == 1) return Fail(EXDEV);
        directories_.pop_back();
        continue;
      }
      UniqueFd entry(::openat(directories_.back().get(), part.c_str(),
                              O_PATH | O_NOFOLLOW | O_CLOEXEC));
      struct stat info = {};
      if (!entry.ok() || ::fstat(entry.get(), &info) != 0) return {};
      if (S_ISLNK(info.st_mode)) {
        if (!FollowLink(entry.get())) return {};
      } else if (S_ISDIR(info.st_mode)) {
        directories_.push_back(std::move(entry));
      } else {
        return todo_.empty() ? OpenLast(part) : Fail(ENOTDIR);
      }
    }
    return std::move(directories_.back());  // a directory: the caller refuses
  }

 private:
  static UniqueFd Fail(int error_number) {
    errno = error_number;
    return {};
  }

  UniqueFd OpenLast(const std::string& name) const {
    return Uninterrupted([&] {
      return ::openat(directories_.back().get(), name.c_str(),
                      kReadFlags | O_NOFOLLOW);
    });
  }

  void Push(std::string_view path) {
    std::vector<std::string> parts = SplitPath(path);
    todo_.insert(todo_.end(), std::make_move_iterator(parts.rbegin()),
                 std::make_move_iterator(parts.rend()));
  }

  bool FollowLink(int link) {
    std::array<char, PATH_MAX> target{};
    const ssize_t n = ::readlinkat(link, "", target.data(), target.size());
    if (n < 0) return false;
    if (++links_ > kMaxLinks) errno = ELOOP;
    if (n > 0 && target[0] == '/') errno = EXDEV;
    if (links_ > kMaxLinks || target[0] == '/') return false;
    Push({target.data(), static_cast<size_t>(n)});
    return true;
  }

  std::vector<UniqueFd> directories_;  // from the root down to where we are
  std::vector<std::string> todo_;      // components left, the next one last
  int links_ = 0;
};

UniqueFd OpenBySystemCall(int directory, const std::string& relative) {
  open_how how = {};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd;
  for (int i = 0; i < kMaxAttempts && !fd.ok(); ++i) {
    fd = UniqueFd(static_cast<int>(
        ::syscall(SYS_openat2, directory, relative.c_str(), &how, sizeof how)));
    if (!fd.ok() && errno != EAGAIN && errno != EINTR) break;
  }
  return fd;
}

bool MustWalk(int error_number) {
  return error_number == ENOSYS || error_number == EPERM ||
         error_number == EAGAIN || error_number == EINVAL ||
         error_number == E2BIG;
}

}  // namespace

StatusOr<UniqueFd> OpenForReading(const std::string& path) {
  UniqueFd fd = Uninterrupted([&] { return ::open(path.c_str(), kReadFlags); });
  if (!fd.ok()) return OpenError(errno, path);
  return RegularFilesOnly(std::move(fd), path);
}

StatusOr<UniqueFd> OpenBeneath(const std::string& path,
                               const std::string& directory,
                               ResolveMethod method) {
  const std::string outside = path + " is not beneath " + directory;
  const std::optional<std::string_view> relative = PathBelow(path, directory);
  if (!relative) return InvalidArgument(outside);
  UniqueFd root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.ok()) return OpenError(errno, directory);

  UniqueFd fd;
  if (method == ResolveMethod::kAuto) {
    fd = OpenBySystemCall(root.get(), std::string(*relative));
  }
  if (!fd.ok() && (method == ResolveMethod::kWalk || MustWalk(errno))) {
    fd = BeneathWalk(std::move(root)).Open(*relative);
  }
  if (!fd.ok() && errno == EXDEV) return InvalidArgument(outside);
  if (!fd.ok()) return OpenError(errno, path);
  return RegularFilesOnly(std::move(fd), path);
}

StatusOr<UniqueFd> CreateNew(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  constexpr mode_t kMode = 0666;
  UniqueFd fd =
      Uninterrupted([&] { return ::open(path.c_str(), kFlags, kMode); });
  if (!fd.ok()) return OpenError(errno, path);
  return fd;
}

StatusOr<UniqueFd> OpenShared(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  UniqueFd fd = Uninterrupted([&] { return ::open(path.c_str(), kFlags); });
  if (!fd.ok() && (errno == ELOOP || errno == EISDIR)) {
    return NotARegularFile(path);
  }
  if (!fd.ok()) return OpenError(errno, path);
  return RegularFilesOnly(std::move(fd), path);
}

}  // namespace dcp
