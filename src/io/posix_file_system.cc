#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "dcp/file_system.h"
#include "io/direct_io.h"
#include "io/posix_directory.h"
#include "io/posix_file.h"
#include "io/posix_lock.h"
#include "io/posix_open.h"
#include "io/posix_space.h"

namespace dcp {
namespace {

struct DirectoryCloser {
  // A directory that was only read has nothing to lose at closedir(3).
  void operator()(DIR* directory) const { (void)::closedir(directory); }
};

FileKind KindOfMode(mode_t mode) {
  if (S_ISREG(mode)) return FileKind::kFile;
  return S_ISDIR(mode) ? FileKind::kDirectory : FileKind::kOther;
}

/// The kind of what an entry is or points to.
FileKind KindOfEntry(int directory, const dirent& entry) {
  if (entry.d_type == DT_REG) return FileKind::kFile;
  if (entry.d_type == DT_DIR) return FileKind::kDirectory;
  if (entry.d_type != DT_LNK && entry.d_type != DT_UNKNOWN) {
    return FileKind::kOther;
  }
  struct stat info = {};
  if (::fstatat(directory, entry.d_name, &info, 0) != 0) {
    return FileKind::kOther;
  }
  return KindOfMode(info.st_mode);
}

/// Whether the entry itself is a link.
bool IsLink(int directory, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_LNK;
  struct stat info = {};
  return ::fstatat(directory, entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISLNK(info.st_mode);
}

/// One mkdir(2); fine if a directory is there already.
Status MakeDirectory(const std::string& path) {
  constexpr mode_t kMode = 0777;  // less the umask
  if (::mkdir(path.c_str(), kMode) == 0) return absl::OkStatus();
  const int error = errno;
  struct stat info = {};
  if (error == EEXIST && ::stat(path.c_str(), &info) == 0 &&
      S_ISDIR(info.st_mode)) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(error, {.op = "mkdir", .path = path});
}

/// ENOENT; a file in a directory's place is kNotFound as well (ENOTDIR).
bool IsNoEntry(const Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail && detail->error_number == ENOENT;
}

/// The directory that holds `path`, empty if that is "/" or the current one.
std::string Parent(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(path.substr(0, slash == path.npos ? 0 : slash));
}

class PosixFileSystem final : public FileSystem {
 public:
  const FileSystemTraits& traits() const override { return traits_; }
  std::string Absolute(const std::string& path) const override;
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override;
  Status MakeDirectories(const std::string& path) override;
  StatusOr<std::vector<DirectoryEntry>> List(const std::string& path) override;
  StatusOr<bool> Exists(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Exchange(const std::string& a, const std::string& b) override {
    return ExchangePosixNames(a, b);
  }
  Status Link(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status MakeDirectoryLike(const std::string& path,
                           const std::string& model) override {
    return MakePosixDirectoryLike(path, model);
  }
  Status SyncDirectory(const std::string& path) override;
  StatusOr<std::optional<SpaceInfo>> Space(const std::string& path) override;
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override {
    return LockPosixFile(path, owner);
  }
  StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path) override {
    return PosixLockOwner(path);
  }

 private:
  const FileSystemTraits traits_{.name = "posix"};
};

/// Only what comes before is new: links and ".." mean what they meant. Where
/// the working directory is gone, no file can be reached by a relative path.
std::string PosixFileSystem::Absolute(const std::string& path) const {
  if (path.empty() || path.front() == '/') return path;
  std::error_code error;
  const std::string directory = std::filesystem::current_path(error);
  return error ? path : JoinPath(directory, path);
}

StatusOr<UniqueFd> OpenBuffered(const std::string& path,
                                const OpenOptions& options) {
  if (options.mode == OpenMode::kCreateNew) return CreateNew(path);
  if (options.mode == OpenMode::kShared) return OpenShared(path);
  if (options.beneath.empty()) return OpenForReading(path);
  return OpenBeneath(path, options.beneath, ResolveMethod::kAuto);
}

StatusOr<std::optional<DirectDescriptor>> OpenDirectAsAsked(
    int fd, const std::string& path, const OpenOptions& options) {
  if (options.direct_io == DirectIo::kOff) return std::nullopt;
  DCP_ASSIGN_OR_RETURN(auto direct, OpenDirect(fd, options.mode));
  if (auto* descriptor = std::get_if<DirectDescriptor>(&direct)) {
    return std::make_optional(std::move(*descriptor));
  }
  if (options.direct_io == DirectIo::kRequire) {
    return Unimplemented("no direct I/O for " + path + " (" +
                         std::get<DirectIoRefusal>(direct).reason + ")");
  }
  return std::nullopt;
}

StatusOr<std::unique_ptr<File>> PosixFileSystem::Open(
    const std::string& path, const OpenOptions& options) {
  if (options.mode == OpenMode::kReplace) {
    return Unimplemented("names are replaced by a rename here: " + path);
  }
  DCP_ASSIGN_OR_RETURN(UniqueFd fd, OpenBuffered(path, options));
  auto direct = OpenDirectAsAsked(fd.get(), path, options);
  if (!direct.ok()) {
    // The empty file is ours: O_EXCL made it.
    if (options.mode == OpenMode::kCreateNew) (void)::unlink(path.c_str());
    return direct.status();
  }
  return std::make_unique<PosixFile>(path, std::move(fd), *std::move(direct));
}

Status PosixFileSystem::MakeDirectories(const std::string& path) {
  // Up to the first ancestor that can be made or is there, then down again.
  // Somebody else may make the same ones meanwhile: MakeDirectory is fine with
  // that.
  std::vector<std::string> missing = {path};
  Status status = MakeDirectory(path);
  while (IsNoEntry(status) && !Parent(missing.back()).empty()) {
    missing.push_back(Parent(missing.back()));
    status = MakeDirectory(missing.back());
  }
  DCP_RETURN_IF_ERROR(status);
  missing.pop_back();
  for (; !missing.empty(); missing.pop_back()) {
    DCP_RETURN_IF_ERROR(MakeDirectory(missing.back()));
  }
  return absl::OkStatus();
}

StatusOr<std::vector<DirectoryEntry>> PosixFileSystem::List(
    const std::string& path) {
  const std::unique_ptr<DIR, DirectoryCloser> directory(
      ::opendir(path.c_str()));
  if (directory == nullptr) {
    return ErrnoToStatus(errno, {.op = "opendir", .path = path});
  }
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;  // readdir(3): the only way to tell an error from the end
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    entries.push_back({.name = std::string(name),
                       .kind = KindOfEntry(::dirfd(directory.get()), *entry),
                       .is_link = IsLink(::dirfd(directory.get()), *entry)});
  }
  if (errno != 0) return ErrnoToStatus(errno, {.op = "readdir", .path = path});
  return entries;
}

StatusOr<bool> PosixFileSystem::Exists(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoToStatus(errno, {.op = "stat", .path = path});
}

Status PosixFileSystem::Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return Annotate(ErrnoToStatus(errno, {.op = "rename", .path = from}),
                  "renaming to " + to);
}

/// EPERM is how a file system says that it has no hard links (link(2)), and how
/// the kernel refuses those of files that are others'.
bool MeansNoLink(int error_number) {
  return error_number == EPERM || error_number == ENOTSUP ||
         error_number == ENOSYS || error_number == EMLINK ||
         error_number == EXDEV;
}

Status PosixFileSystem::Link(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  const Status status =
      Annotate(ErrnoToStatus(error, {.op = "link", .path = from}),
               "linking it as " + to);
  return MeansNoLink(error) ? Unimplemented(Message(status)) : status;
}

Status PosixFileSystem::Remove(const std::string& path) {
  // unlink(2) refuses directories on Linux (EISDIR).
  if (::unlink(path.c_str()) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, {.op = "unlink", .path = path});
}

Status PosixFileSystem::RemoveDirectory(const std::string& path) {
  if (::rmdir(path.c_str()) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, {.op = "rmdir", .path = path});
}

Status PosixFileSystem::SyncDirectory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoToStatus(errno, {.op = "open", .path = path});
  // EINVAL: this file system has no such thing (fsync(2)).
  if (::fsync(fd.get()) == 0 || errno == EINVAL) return absl::OkStatus();
  return ErrnoToStatus(errno, {.op = "fsync", .path = path});
}

StatusOr<std::optional<SpaceInfo>> PosixFileSystem::Space(
    const std::string& path) {
  DCP_ASSIGN_OR_RETURN(SpaceInfo info, PosixSpace(path));
  return info;
}

}  // namespace

std::shared_ptr<FileSystem> MakePosixFileSystem() {
  return std::make_shared<PosixFileSystem>();
}

}  // namespace dcp
