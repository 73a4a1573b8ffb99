// What the error of a save says whose storage hangs.

#ifndef DCP_TESTS_RELIABILITY_STALLS_H_
#define DCP_TESTS_RELIABILITY_STALLS_H_

#include <algorithm>
#include <string_view>

#include "dcp/status.h"
#include "io/stall.h"

namespace dcp::testing {

inline bool NamesFileAndPhase(const Status& status) {
  const auto failures = GetRankFailures(status);
  if (!failures || failures->phase.empty()) return false;
  return std::all_of(failures->by_rank.begin(), failures->by_rank.end(),
                     [](const auto& failure) {
                       const auto detail = GetErrorDetail(failure.second);
                       return IsStall(failure.second) &&
                              detail->path.starts_with('/') &&
                              Message(failure.second).find(detail->path) !=
                                  std::string_view::npos;
                     });
}

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_STALLS_H_
