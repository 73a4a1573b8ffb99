// The list of the files that a save of safetensors files replaces. It is there
// from before the commit until they are gone, so that a save that is killed in
// between leaves no files that nobody can tell from the user's.

#ifndef DCP_STORAGE_REPLACED_LIST_H_
#define DCP_STORAGE_REPLACED_LIST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// A file as it was when the list was made. One of another size is another one.
struct ListedFile {
  std::string name;  ///< in the directory
  int64_t nbytes = 0;
  bool operator==(const ListedFile&) const = default;
};

std::string SerializeReplacedList(const std::vector<ListedFile>& files);
/// \error kDataLoss  not what SerializeReplacedList wrote
/// \error kFailedPrecondition  only later versions of dcp can read it
StatusOr<std::vector<ListedFile>> ParseReplacedList(std::string_view data);

/// The size of a file in `directory`.
StatusOr<int64_t> SizeOfFile(FileSystem& file_system,
                             const std::string& directory,
                             const std::string& name);

/// `names`, files of `directory`, with their sizes; those that are gone or
/// cannot be opened are left out.
std::vector<ListedFile> ListFiles(FileSystem& file_system,
                                  const std::string& directory,
                                  const std::vector<std::string>& names);

/// The names of those of `files` that are in `directory` as they were.
std::vector<std::string> StillThere(FileSystem& file_system,
                                    const std::string& directory,
                                    const std::vector<ListedFile>& files);

}  // namespace dcp

#endif  // DCP_STORAGE_REPLACED_LIST_H_
