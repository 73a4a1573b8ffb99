// Files in this process's memory: a tree of names under one mutex, the content
// of each file under its own. Hard links, but no
// others, and no permissions; "." and ".." go by the letters. Relative paths
// begin at "/".

#include <cerrno>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "dcp/file_system.h"
#include "io/memory_file.h"
#include "io/memory_locks.h"
#include "io/memory_tree.h"
#include "io/paths.h"

namespace dcp {
namespace {

using Node = MemoryNode;

class MemoryFileSystem final : public FileSystem {
 public:
  const FileSystemTraits& traits() const override { return traits_; }
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override;
  Status MakeDirectories(const std::string& path) override;
  StatusOr<std::vector<DirectoryEntry>> List(const std::string& path) override;
  StatusOr<bool> Exists(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Exchange(const std::string& a, const std::string& b) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status MakeDirectoryLike(const std::string& path,
                           const std::string& model) override;
  Status SyncDirectory(const std::string& path) override;
  StatusOr<std::optional<SpaceInfo>> Space(const std::string& path) override;
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path,
                                           const std::string& owner) override {
    return locks_.Lock(path, owner);
  }
  StatusOr<std::optional<std::string>> LockOwner(
      const std::string& path) override {
    return locks_.OwnerOf(path);
  }

 private:
  /// Where a name is, or would be.
  struct Place {
    Node* parent = nullptr;
    std::string name;
    Node* node = nullptr;  // null if there is no such entry
  };

  StatusOr<Node*> Find(const char* op, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<Place> FindPlace(const char* op, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<Node*> FindDirectory(const char* op, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<std::shared_ptr<MemoryFileData>> Create(const std::string& path);

  const FileSystemTraits traits_{.name = "memory"};
  MemoryLocks locks_;
  Mutex mutex_;
  Node root_ ABSL_GUARDED_BY(mutex_);
};

StatusOr<Node*> MemoryFileSystem::Find(const char* op,
                                       const std::string& path) {
  Node* node = nullptr;
  const int error = Walk(&root_, NormalizedParts(path), &node);
  if (error == 0) return node;
  return ErrnoToStatus(error, {.op = op, .path = path});
}

StatusOr<MemoryFileSystem::Place> MemoryFileSystem::FindPlace(
    const char* op, const std::string& path) {
  PathParts parts = NormalizedParts(path);
  if (parts.empty()) return ErrnoToStatus(EISDIR, {.op = op, .path = path});
  Place place{.name = std::move(parts.back())};
  parts.pop_back();
  int error = Walk(&root_, parts, &place.parent);
  if (error == 0 && !place.parent->is_directory()) error = ENOTDIR;
  if (error != 0) return ErrnoToStatus(error, {.op = op, .path = path});
  const auto child = place.parent->children.find(place.name);
  if (child != place.parent->children.end()) place.node = child->second.get();
  return place;
}

StatusOr<Node*> MemoryFileSystem::FindDirectory(const char* op,
                                                const std::string& path) {
  DCP_ASSIGN_OR_RETURN(Node * node, Find(op, path));
  if (node->is_directory()) return node;
  return ErrnoToStatus(ENOTDIR, {.op = op, .path = path});
}

StatusOr<std::shared_ptr<MemoryFileData>> MemoryFileSystem::Create(
    const std::string& path) {
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place place, FindPlace("open", path));
  if (place.node != nullptr) {
    return ErrnoToStatus(EEXIST, {.op = "open", .path = path});
  }
  auto node = std::make_unique<Node>();
  node->data = std::make_shared<MemoryFileData>();
  auto data = node->data;
  place.parent->children.emplace(place.name, std::move(node));
  return data;
}

StatusOr<std::unique_ptr<File>> MemoryFileSystem::Open(
    const std::string& path, const OpenOptions& options) {
  if (options.direct_io == DirectIo::kRequire) {
    return Unimplemented("no direct I/O in memory: " + path);
  }
  if (options.mode == OpenMode::kReplace) {
    return Unimplemented("names are replaced by a rename here: " + path);
  }
  if (options.mode == OpenMode::kCreateNew) {
    DCP_ASSIGN_OR_RETURN(auto data, Create(path));
    return std::make_unique<MemoryFile>(path, std::move(data), options.mode);
  }
  if (!options.beneath.empty() &&
      !IsBelow(NormalizedParts(path), NormalizedParts(options.beneath))) {
    return InvalidArgument(path + " is not beneath " + options.beneath);
  }
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Node* node, Find("open", path));
  if (node->is_directory()) {
    return InvalidArgument("not a regular file: " + path);
  }
  return std::make_unique<MemoryFile>(path, node->data, options.mode);
}

Status MemoryFileSystem::MakeDirectories(const std::string& path) {
  const MutexLock lock(mutex_);
  Node* node = &root_;
  for (const std::string& part : NormalizedParts(path)) {
    std::unique_ptr<Node>& child = node->children[part];
    if (child == nullptr) child = std::make_unique<Node>();
    node = child.get();
    if (!node->is_directory()) {
      return ErrnoToStatus(EEXIST, {.op = "mkdir", .path = path});
    }
  }
  return absl::OkStatus();
}

StatusOr<std::vector<DirectoryEntry>> MemoryFileSystem::List(
    const std::string& path) {
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Node* node, FindDirectory("opendir", path));
  std::vector<DirectoryEntry> entries;
  entries.reserve(node->children.size());
  for (const auto& [name, child] : node->children) {
    entries.push_back({.name = name,
                       .kind = child->is_directory() ? FileKind::kDirectory
                                                     : FileKind::kFile});
  }
  return entries;
}

StatusOr<bool> MemoryFileSystem::Exists(const std::string& path) {
  const MutexLock lock(mutex_);
  return Find("stat", path).ok();
}

Status MemoryFileSystem::Rename(const std::string& from,
                                const std::string& to) {
  const auto error = [&](int error_number) {
    return Annotate(ErrnoToStatus(error_number, {.op = "rename", .path = from}),
                    "renaming to " + to);
  };
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place source, FindPlace("rename", from));
  DCP_ASSIGN_OR_RETURN(const Place target, FindPlace("rename", to));
  if (source.node == nullptr) return error(ENOENT);
  if (source.node == target.node) return absl::OkStatus();
  if (IsBelow(NormalizedParts(to), NormalizedParts(from))) return error(EINVAL);
  if (target.node != nullptr) {
    const int refused = RenameError(*source.node, *target.node);
    if (refused != 0) return error(refused);
  }
  const auto entry = source.parent->children.find(source.name);
  std::unique_ptr<Node> node = std::move(entry->second);
  source.parent->children.erase(entry);
  target.parent->children[target.name] = std::move(node);
  return absl::OkStatus();
}

Status MemoryFileSystem::Exchange(const std::string& a, const std::string& b) {
  const auto error = [&](int error_number) {
    return Annotate(ErrnoToStatus(error_number, {.op = "renameat2", .path = a}),
                    "exchanging it with " + b);
  };
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place one, FindPlace("renameat2", a));
  DCP_ASSIGN_OR_RETURN(const Place other, FindPlace("renameat2", b));
  if (one.node == nullptr || other.node == nullptr) return error(ENOENT);
  const PathParts a_parts = NormalizedParts(a);
  const PathParts b_parts = NormalizedParts(b);
  if (IsBelow(a_parts, b_parts) || IsBelow(b_parts, a_parts)) {
    return error(EINVAL);
  }
  std::swap(one.parent->children[one.name], other.parent->children[other.name]);
  return absl::OkStatus();
}

Status MemoryFileSystem::Link(const std::string& from, const std::string& to) {
  const auto error = [&](int error_number) {
    return Annotate(ErrnoToStatus(error_number, {.op = "link", .path = from}),
                    "linking it as " + to);
  };
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place source, FindPlace("link", from));
  DCP_ASSIGN_OR_RETURN(const Place target, FindPlace("link", to));
  if (source.node == nullptr) return error(ENOENT);
  if (target.node != nullptr) return error(EEXIST);
  if (source.node->is_directory()) {
    return Unimplemented(Message(error(EPERM)));  // as link(2)
  }
  auto node = std::make_unique<Node>();
  node->data = source.node->data;
  target.parent->children.emplace(target.name, std::move(node));
  return absl::OkStatus();
}

Status MemoryFileSystem::Remove(const std::string& path) {
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place place, FindPlace("unlink", path));
  int error = 0;
  if (place.node == nullptr) error = ENOENT;
  if (place.node != nullptr && place.node->is_directory()) error = EISDIR;
  if (error != 0) return ErrnoToStatus(error, {.op = "unlink", .path = path});
  place.parent->children.erase(place.name);
  return absl::OkStatus();
}

Status MemoryFileSystem::RemoveDirectory(const std::string& path) {
  const MutexLock lock(mutex_);
  DCP_ASSIGN_OR_RETURN(const Place place, FindPlace("rmdir", path));
  int error = 0;
  if (place.node == nullptr) {
    error = ENOENT;
  } else if (!place.node->is_directory()) {
    error = ENOTDIR;
  } else if (!place.node->children.empty()) {
    error = ENOTEMPTY;
  }
  if (error != 0) return ErrnoToStatus(error, {.op = "rmdir", .path = path});
  place.parent->children.erase(place.name);
  return absl::OkStatus();
}

Status MemoryFileSystem::MakeDirectoryLike(const std::string& path,
                                           const std::string& model) {
  const MutexLock lock(mutex_);
  DCP_RETURN_IF_ERROR(FindDirectory("lstat", model).status());
  DCP_ASSIGN_OR_RETURN(const Place place, FindPlace("mkdir", path));
  if (place.node != nullptr) {
    return ErrnoToStatus(EEXIST, {.op = "mkdir", .path = path});
  }
  place.parent->children.emplace(place.name, std::make_unique<Node>());
  return absl::OkStatus();
}

Status MemoryFileSystem::SyncDirectory(const std::string& path) {
  const MutexLock lock(mutex_);
  return FindDirectory("open", path).status();
}

StatusOr<std::optional<SpaceInfo>> MemoryFileSystem::Space(
    const std::string& path) {
  const MutexLock lock(mutex_);
  DCP_RETURN_IF_ERROR(Find("statvfs", path).status());
  return std::nullopt;
}

}  // namespace

std::shared_ptr<FileSystem> MakeMemoryFileSystem() {
  return std::make_shared<MemoryFileSystem>();
}

}  // namespace dcp
