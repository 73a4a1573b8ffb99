// RunSaver: what dcpcpp_saver does.

#ifndef DCP_SAVER_SAVER_LOOP_H_
#define DCP_SAVER_SAVER_LOOP_H_

#include <functional>
#include <string>
#include <string_view>

namespace dcp {

/// Carries out orders that come by `socket`, whose tensors lie in the segment
/// `memory`, one after the other, until the other end is gone and none is left.
void RunSaver(int socket, int memory);

/// Carries out one order, and returns the answer. `memory` is the segment.
/// `cancelled`, asked now and then, may end it.
std::string CarryOutOrder(std::string_view order, int memory,
                          const std::function<bool()>& cancelled);

}  // namespace dcp

#endif  // DCP_SAVER_SAVER_LOOP_H_
