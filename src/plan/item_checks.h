// What ranks can get wrong in the items that they list, and how it is said.

#ifndef DCP_PLAN_ITEM_CHECKS_H_
#define DCP_PLAN_ITEM_CHECKS_H_

#include <cstdint>

#include "dcp/plan.h"
#include "dcp/status.h"

namespace dcp {

/// An item, and the rank whose plan it is of.
struct ListedItem {
  const WriteItem& item;
  uint32_t rank = 0;
};

/// Checks `listed` alone, and against `first`, the lowest rank's first item of
/// the same fqn.
/// \error kInvalidArgument  names both ranks
Status CheckListed(ListedItem listed, ListedItem first);

/// Checks two items of one fqn and offset, of which `first` is the lowest
/// rank's: they must be of two ranks and of one size.
/// \error kInvalidArgument  if `listed` and `before`, the holder before it, are
///     the same rank's, or the sizes differ
Status CheckHolder(ListedItem listed, uint32_t before, ListedItem first);

/// The error of more bytes than 64 bits count, found at `listed`.
Status TooManyBytes(ListedItem listed);

}  // namespace dcp

#endif  // DCP_PLAN_ITEM_CHECKS_H_
