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

/// Of a call that failed: that `model` cannot be copied here, or, if another
/// time may do, the call's own error.
Status Failed(const char* op, const std::string& path,
              const std::string& model) {
  const int error = errno;
  if (error == EPERM || error == EINVAL || error == ERANGE) {
    return CannotCopy(model, std::string(op) + ": " + strerror(error));
  }
  return ErrnoToStatus(error, {.op = op, .path = path});
}

/// \error kUnimplemented  `path`, which is `model` or like it, has attributes
///     that cannot be copied
Status RequireKnownAttributes(const std::string& path,
                              const std::string& model) {
  std::array<char, 4096> names{};
  const ssize_t n = ::listxattr(path.c_str(), names.data(), names.size());
  if (n < 0) {
    return errno == ENOTSUP ? absl::OkStatus()
                            : Failed("listxattr", path, model);
  }
  std::string_view rest(names.data(), static_cast<size_t>(n));
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    if (name != "security.selinux") {
      return CannotCopy(model, "it has the attribute " + std::string(name));
    }
    rest.remove_prefix(name.size() + 1);
  }
  return absl::OkStatus();
}

/// Makes the new directory `path` like `model`, which has `wanted`.
Status MakeLike(const std::string& path, const std::string& model,
                const struct stat& wanted) {
  struct stat made = {};
  if (::lstat(path.c_str(), &made) != 0) return Failed("lstat", path, model);
  if (made.st_dev != wanted.st_dev) {
    return CannotCopy(model, "it is on another file system");
  }
  const uid_t no_uid = static_cast<uid_t>(-1);
  const gid_t no_gid = static_cast<gid_t>(-1);
  const uid_t uid = made.st_uid == wanted.st_uid ? no_uid : wanted.st_uid;
  const gid_t gid = made.st_gid == wanted.st_gid ? no_gid : wanted.st_gid;
  if ((uid != no_uid || gid != no_gid) &&
      ::lchown(path.c_str(), uid, gid) != 0) {
    return Failed("chown", path, model);
  }
  if (::chmod(path.c_str(), wanted.st_mode & kAllModeBits) != 0) {
    return Failed("chmod", path, model);
  }
  // The kernel drops a set-group-ID bit silently where the group is not ours.
  if (::lstat(path.c_str(), &made) != 0) return Failed("lstat", path, model);
  if (made.st_mode != wanted.st_mode) {
    return CannotCopy(model, "its mode cannot be set");
  }
  // A default list of the parent gives it some.
  return RequireKnownAttributes(path, model);
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
  DCP_RETURN_IF_ERROR(RequireKnownAttributes(model, model));
  constexpr mode_t kMode = 0700;  // until it is like the model
  if (::mkdir(path.c_str(), kMode) != 0) {
    return ErrnoToStatus(errno, {.op = "mkdir", .path = path});
  }
  const Status made = MakeLike(path, model, wanted);
  if (!made.ok()) (void)::rmdir(path.c_str());
  return made;
}

}  // namespace dcp
