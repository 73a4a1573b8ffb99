// A directory that is to take another one's place must be like it for all who
// come after, or it opens to others what was closed to them: the same owner,
// group and mode. What else a directory may have stands in extended attributes
// (access control lists, the striping of Lustre): where there is any, this
// gives up, rather than copy what it does not know. SELinux's label is the
// exception: it follows from the parent, which is the same.

#include "io/posix_directory.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace dcp {
namespace {

constexpr mode_t kAllModeBits = 07777;

Status CannotCopy(const std::string& path, const std::string& why) {
  return Unimplemented("no directory can be made like " + path + ": " + why);
}

/// Why attributes of `path` cannot be copied, empty if they can.
std::string UnknownAttributeOf(const std::string& path) {
  std::array<char, 4096> names{};
  const ssize_t n = ::listxattr(path.c_str(), names.data(), names.size());
  if (n < 0) {
    return errno == ENOTSUP ? "" : "listxattr: " + std::string(strerror(errno));
  }
  std::string_view rest(names.data(), static_cast<size_t>(n));
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    if (name != "security.selinux") {
      return "it has the attribute " + std::string(name);
    }
    rest.remove_prefix(name.size() + 1);
  }
  return "";
}

/// Makes the new directory `path` like one with `wanted`.
/// Returns why that is not possible, empty if it was.
std::string MakeLike(const std::string& path, const struct stat& wanted) {
  struct stat made = {};
  if (::lstat(path.c_str(), &made) != 0) return strerror(errno);
  if (made.st_dev != wanted.st_dev) return "it is on another file system";
  const uid_t no_uid = static_cast<uid_t>(-1);
  const gid_t no_gid = static_cast<gid_t>(-1);
  const uid_t uid = made.st_uid == wanted.st_uid ? no_uid : wanted.st_uid;
  const gid_t gid = made.st_gid == wanted.st_gid ? no_gid : wanted.st_gid;
  if ((uid != no_uid || gid != no_gid) &&
      ::lchown(path.c_str(), uid, gid) != 0) {
    return "chown: " + std::string(strerror(errno));
  }
  if (::chmod(path.c_str(), wanted.st_mode & kAllModeBits) != 0) {
    return "chmod: " + std::string(strerror(errno));
  }
  // The kernel drops a set-group-ID bit silently where the group is not ours.
  if (::lstat(path.c_str(), &made) != 0 || made.st_mode != wanted.st_mode) {
    return "its mode cannot be set";
  }
  return UnknownAttributeOf(path);  // by a default list of the parent
}

}  // namespace

Status ExchangePosixNames(const std::string& a, const std::string& b) {
  // Not renameat2(3), which the oldest C libraries that we run on lack.
  if (::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(),
                RENAME_EXCHANGE) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  const Status status =
      Annotate(ErrnoToStatus(error, {.op = "renameat2", .path = a}),
               "exchanging it with " + b);
  // renameat2(2): EINVAL where the file system does not know the flag.
  const bool is_unknown =
      error == EINVAL || error == ENOSYS || error == ENOTSUP;
  return is_unknown ? Unimplemented(Message(status)) : status;
}

Status MakePosixDirectoryLike(const std::string& path,
                              const std::string& model) {
  struct stat wanted = {};
  if (::lstat(model.c_str(), &wanted) != 0) {
    return ErrnoToStatus(errno, {.op = "lstat", .path = model});
  }
  if (S_ISLNK(wanted.st_mode)) return CannotCopy(model, "it is a link");
  if (!S_ISDIR(wanted.st_mode)) {
    return ErrnoToStatus(ENOTDIR, {.op = "lstat", .path = model});
  }
  std::string why = UnknownAttributeOf(model);
  if (!why.empty()) return CannotCopy(model, why);
  constexpr mode_t kMode = 0700;  // until it is like the model
  if (::mkdir(path.c_str(), kMode) != 0) {
    return ErrnoToStatus(errno, {.op = "mkdir", .path = path});
  }
  why = MakeLike(path, wanted);
  if (why.empty()) return absl::OkStatus();
  (void)::rmdir(path.c_str());
  return CannotCopy(model, why);
}

}  // namespace dcp
