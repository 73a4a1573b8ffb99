// One sorted map from normalized path to file or directory, under one mutex.
// What lies below a directory is the range of names that begin with its own
// and a '/', so nothing here is recursive.
//
// An open file shares its content with the map. Renaming over a name or
// removing it therefore leaves whoever has the old file open with the old
// bytes: what the commit of a checkpoint relies on.

#include "memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

#include "memory_file.h"

namespace examples {
namespace {

dcp::Status Errno(int error_number, const char* op, const std::string& path) {
  return dcp::ErrnoToStatus(error_number, {.op = op, .path = path});
}

/// "/a/b": without "", "." and "..", which are resolved by the letters. The
/// root is the empty string, so that every name begins with its parent's + '/'.
std::string Normalize(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
    if (part == "..") {
      result.resize(result.empty() ? 0 : result.rfind('/'));
    } else if (!part.empty() && part != ".") {
      (result += '/') += part;
    }
  }
  return result;
}

std::string ParentOf(const std::string& name) {
  return name.substr(0, name.rfind('/'));
}

class MemoryFileSystem final : public dcp::FileSystem {
 public:
  const dcp::FileSystemTraits& traits() const override { return traits_; }

  dcp::StatusOr<std::unique_ptr<dcp::File>> Open(
      const std::string& path, const dcp::OpenOptions& options) override;

  dcp::Status MakeDirectories(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::string name = Normalize(path);
    for (size_t end = 0; end < name.size();) {
      end = std::min(name.find('/', end + 1), name.size());
      const auto entry = nodes_.try_emplace(name.substr(0, end)).first;
      if (entry->second != nullptr) return Errno(EEXIST, "mkdir", path);
    }
    return {};
  }

  dcp::StatusOr<std::vector<dcp::DirectoryEntry>> List(
      const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::string name = Normalize(path);
    DCP_RETURN_IF_ERROR(RequireDirectory("list", path, name));
    std::vector<dcp::DirectoryEntry> entries;
    for (auto [at, end] = Below(name); at != end; ++at) {
      if (ParentOf(at->first) != name) continue;
      entries.push_back({.name = at->first.substr(name.size() + 1),
                         .kind = at->second == nullptr
                                     ? dcp::FileKind::kDirectory
                                     : dcp::FileKind::kFile});
    }
    return entries;
  }

  dcp::StatusOr<bool> Exists(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::string name = Normalize(path);
    return name.empty() || nodes_.contains(name);
  }

  dcp::Status Rename(const std::string& from, const std::string& to) override;

  dcp::Status Remove(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = nodes_.find(Normalize(path));
    if (found == nodes_.end()) return Errno(ENOENT, "remove", path);
    if (found->second == nullptr) return Errno(EISDIR, "remove", path);
    nodes_.erase(found);
    return {};
  }

  dcp::Status SyncDirectory(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return RequireDirectory("sync", path, Normalize(path));
  }

  /// Unknown: nobody can say how much memory a process may have.
  dcp::StatusOr<std::optional<dcp::SpaceInfo>> Space(
      const std::string& /*path*/) override {
    return std::optional<dcp::SpaceInfo>();
  }

 private:
  /// Null for a directory.
  using Nodes = std::map<std::string, std::shared_ptr<MemoryContent>>;

  /// What lies below a directory: '0' is the character after '/'.
  std::pair<Nodes::iterator, Nodes::iterator> Below(const std::string& name) {
    return {nodes_.lower_bound(name + '/'), nodes_.lower_bound(name + '0')};
  }
  dcp::Status RequireDirectory(const char* op, const std::string& path,
                               const std::string& name) const {
    if (name.empty()) return {};
    const auto found = nodes_.find(name);
    if (found == nodes_.end()) return Errno(ENOENT, op, path);
    return found->second == nullptr ? dcp::Status() : Errno(ENOTDIR, op, path);
  }

  const dcp::FileSystemTraits traits_{.name = "example memory"};
  std::mutex mutex_;
  Nodes nodes_;  // guarded by mutex_; the root is not in it
};

dcp::StatusOr<std::unique_ptr<dcp::File>> MemoryFileSystem::Open(
    const std::string& path, const dcp::OpenOptions& options) {
  if (options.direct_io == dcp::DirectIo::kRequire ||
      options.mode == dcp::OpenMode::kReplace ||
      options.mode == dcp::OpenMode::kShared) {
    return dcp::Unimplemented("files in memory are not opened like this: " +
                              path);
  }
  const std::string name = Normalize(path);
  // There are no links, so the letters say where a path leads.
  const std::string beneath = Normalize(options.beneath) + '/';
  if (!options.beneath.empty() && !name.starts_with(beneath)) {
    return dcp::InvalidArgument(path + " is not beneath " + options.beneath);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = nodes_.find(name);
  std::shared_ptr<MemoryContent> content;
  if (options.mode == dcp::OpenMode::kCreateNew) {
    if (found != nodes_.end()) return Errno(EEXIST, "open", path);
    DCP_RETURN_IF_ERROR(RequireDirectory("open", path, ParentOf(name)));
    content = std::make_shared<MemoryContent>();
    nodes_.emplace(name, content);
  } else if (found != nodes_.end()) {
    content = found->second;
  } else if (!name.empty()) {
    return Errno(ENOENT, "open", path);
  }
  if (content == nullptr) {
    return dcp::InvalidArgument("not a regular file: " + path);
  }
  return std::make_unique<MemoryFile>(path, std::move(content), options.mode);
}

/// Moves a file. Checkpoints rename nothing else.
dcp::Status MemoryFileSystem::Rename(const std::string& from,
                                     const std::string& to) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::string target = Normalize(to);
  const auto source = nodes_.find(Normalize(from));
  if (source == nodes_.end()) return Errno(ENOENT, "rename", from);
  if (source->second == nullptr) return Errno(EISDIR, "rename", from);
  DCP_RETURN_IF_ERROR(RequireDirectory("rename", to, ParentOf(target)));
  const auto replaced = nodes_.find(target);
  if (target.empty() ||
      (replaced != nodes_.end() && replaced->second == nullptr)) {
    return Errno(EISDIR, "rename", to);
  }
  if (source == replaced) return {};
  nodes_[target] = std::move(source->second);
  nodes_.erase(source);
  return {};
}

}  // namespace

std::shared_ptr<dcp::FileSystem> MakeMemoryFileSystem() {
  return std::make_shared<MemoryFileSystem>();
}

}  // namespace examples
