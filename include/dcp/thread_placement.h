// ThreadPlacement: where threads run, and how far they give way to others.

#ifndef DCP_THREAD_PLACEMENT_H_
#define DCP_THREAD_PLACEMENT_H_

#include <vector>

#include "dcp/status.h"

namespace dcp {

/// The defaults leave threads as those that started them are.
struct ThreadPlacement {
  /// Niceness, 0 to 19 (setpriority(2)): the higher, the more they give way.
  /// That of the process, if it is higher.
  int nice = 0;
  /// Numbers of the processors that they may use; empty: all of the process's.
  std::vector<int> cpus;

  bool operator==(const ThreadPlacement&) const = default;
};

/// \error kInvalidArgument  a niceness that there is not, or a processor that
///        this thread may not use
Status CheckThreadPlacement(const ThreadPlacement& placement);

}  // namespace dcp

#endif  // DCP_THREAD_PLACEMENT_H_
