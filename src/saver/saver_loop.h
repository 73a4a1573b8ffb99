// RunSaver: what dcpcpp_saver does.

#ifndef DCP_SAVER_SAVER_LOOP_H_
#define DCP_SAVER_SAVER_LOOP_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "dcp/plan_cache.h"

namespace dcp {

/// Carries out orders that come by `socket`, whose tensors lie in the segment
/// `memory`, one after the other, until the other end is gone and none is left.
void RunSaver(int socket, int memory);

/// Where an order is carried out.
struct SaverPlace {
  int memory = -1;  ///< the segment
  /// Asked now and then, may end it.
  std::function<bool()> cancelled;
  /// What is remembered from order to order.
  std::shared_ptr<PlanCache> plan_cache;
};

/// Carries out one order, and returns the answer.
std::string CarryOutOrder(std::string_view order, const SaverPlace& place);

}  // namespace dcp

#endif  // DCP_SAVER_SAVER_LOOP_H_
