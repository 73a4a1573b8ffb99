// The names of the memory file system.

#ifndef DCP_IO_MEMORY_TREE_H_
#define DCP_IO_MEMORY_TREE_H_

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/memory_file.h"

namespace dcp {

/// A name: a file (`data` set) or a directory (`data` null). Two names of one
/// file share its data.
struct MemoryNode {
  std::shared_ptr<MemoryFileData> data;
  std::map<std::string, std::unique_ptr<MemoryNode>> children;

  bool is_directory() const { return data == nullptr; }
};

using PathParts = std::vector<std::string>;

/// Whether `path` lies somewhere below `directory`.
inline bool IsBelow(const PathParts& path, const PathParts& directory) {
  return path.size() > directory.size() &&
         std::equal(directory.begin(), directory.end(), path.begin());
}

/// The entry at `parts` below `root`: 0, ENOENT or ENOTDIR.
inline int Walk(MemoryNode* root, const PathParts& parts, MemoryNode** found) {
  MemoryNode* node = root;
  for (const std::string& part : parts) {
    if (!node->is_directory()) return ENOTDIR;
    const auto child = node->children.find(part);
    if (child == node->children.end()) return ENOENT;
    node = child->second.get();
  }
  *found = node;
  return 0;
}

/// What rename(2) says of putting `from` in the place of `to`.
inline int RenameError(const MemoryNode& from, const MemoryNode& to) {
  if (from.is_directory() && !to.is_directory()) return ENOTDIR;
  if (!from.is_directory() && to.is_directory()) return EISDIR;
  return to.children.empty() ? 0 : ENOTEMPTY;
}

}  // namespace dcp

#endif  // DCP_IO_MEMORY_TREE_H_
