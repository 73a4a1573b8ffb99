// What a pickled pathlib path says.

#ifndef DCP_FORMAT_PATH_PARTS_H_
#define DCP_FORMAT_PATH_PARTS_H_

#include <span>
#include <string>
#include <string_view>

#include "format/pickle_globals.h"

namespace dcp {

/// The path that a call of `type`, kPosixPath or kWindowsPath, makes of its
/// arguments: the parts, ("/", "a", "b"), or from Python 3.13 on the whole,
/// ("/a/b",).
inline std::string JoinPathParts(PickleGlobal type,
                                 std::span<const std::string_view> parts) {
  const char separator = type == PickleGlobal::kPosixPath ? '/' : '\\';
  std::string path;
  for (const std::string_view part : parts) {
    // A drive or root ("/", "C:\") ends with its separator already.
    if (!path.empty() && path.back() != separator) path += separator;
    path += part;
  }
  return path.empty() ? "." : path;
}

}  // namespace dcp

#endif  // DCP_FORMAT_PATH_PARTS_H_
