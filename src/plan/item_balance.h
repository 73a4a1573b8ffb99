// Balancing of plans that are lists of items.

#ifndef DCP_PLAN_ITEM_BALANCE_H_
#define DCP_PLAN_ITEM_BALANCE_H_

#include "dcp/plan.h"
#include "plan/balance.h"
#include "plan/item_groups.h"

namespace dcp {

/// See CreateGlobalSavePlan. In the result every group has a number, also those
/// of one holder.
Assignment AssignOwners(const ItemGroups& groups,
                        const GlobalPlanOptions& options);

}  // namespace dcp

#endif  // DCP_PLAN_ITEM_BALANCE_H_
