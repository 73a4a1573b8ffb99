// Directories beside a checkpoint's, in which a save makes what is to take its
// place by an exchange: `.<name>.dcpcpp-<id>` beside `<name>`.

#ifndef DCP_STORAGE_SIBLING_DIRECTORY_H_
#define DCP_STORAGE_SIBLING_DIRECTORY_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// Where the sibling of the save `save_id` is.
/// \error kUnimplemented  `directory` ends in no name of its own (a root, "..")
StatusOr<std::string> SiblingPath(const std::string& directory,
                                  std::string_view save_id);

/// Makes a sibling and finds out whether it can take the place of `directory`,
/// to which `entries` belong and whose files `carried` are to be linked. Leaves
/// it empty, or not at all.
/// \error  why it cannot
Status MakeSibling(FileSystem& file_system, const std::string& directory,
                   const std::string& sibling,
                   std::span<const std::string> carried);

/// A sibling that a dead save left.
struct Sibling {
  std::string name;
  std::string path;
  int64_t nbytes = 0;  ///< of the files in it
};
/// Those of `directory`, but no links; none where its parent cannot be listed.
/// Whoever has the claim of `directory` knows that no other save is at work in
/// them.
std::vector<Sibling> FindSiblings(FileSystem& file_system,
                                  const std::string& directory);

/// Removes a sibling as far as that goes. If it was `directory` before it was
/// exchanged, the user's files that `directory` lacks are carried over first.
void RemoveSibling(FileSystem& file_system, const std::string& directory,
                   const std::string& sibling, SyncMode sync);

/// Removes a directory and the files in it as far as that goes.
void RemoveWithFiles(FileSystem& file_system, const std::string& directory);

/// The files of a directory, to which `entries` belong, that stay when a save
/// replaces its safetensors checkpoint: not what it replaces, and none of ours
/// but lock files, and data files whose metadata may be on another node.
/// \error  it is not known what is replaced
StatusOr<std::vector<std::string>> FilesToCarry(
    FileSystem& file_system, const std::string& directory,
    std::span<const DirectoryEntry> entries);

}  // namespace dcp

#endif  // DCP_STORAGE_SIBLING_DIRECTORY_H_
