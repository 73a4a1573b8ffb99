// Paths: joining them, and checking those that a checkpoint brings along.

#ifndef DCP_IO_PATHS_H_
#define DCP_IO_PATHS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// Checks a file name that was read from a checkpoint (relative_path of
/// `.metadata`, weight_map of an index.json), before it meets a file system.
///
/// At most 8 components of 1 to 255 bytes, separated by single '/', none of
/// them "." or "..". Characters: A-Z a-z 0-9 '_' '-' '.', and in valid UTF-8
/// those beyond ASCII, except controls and invisible formatting.
/// \error kInvalidArgument  says what is wrong; the name is quoted escaped
Status ValidateRelativePath(std::string_view path);

/// What follows `directory` and its '/' in `path`, by the letters alone (no
/// links, no ".."). nullopt if `path` does not go on below `directory`.
std::optional<std::string_view> PathBelow(std::string_view path,
                                          std::string_view directory);

/// The components of a path, without empty ones and "."; ".." is kept.
std::vector<std::string> SplitPath(std::string_view path);

/// As SplitPath, with ".." resolved by the letters, as if there were no links;
/// above the root there is nothing.
std::vector<std::string> NormalizedParts(std::string_view path);

/// The directory that holds the last name of `path`, by the letters; "." if it
/// has one name only, empty for a root.
std::string ParentPath(const std::string& path);

/// The last name of `path`, empty for a root.
std::string LastName(const std::string& path);

}  // namespace dcp

#endif  // DCP_IO_PATHS_H_
