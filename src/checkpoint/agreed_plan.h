// AgreedPlan: what ranks have agreed on and need not tell each other again.

#ifndef DCP_CHECKPOINT_AGREED_PLAN_H_
#define DCP_CHECKPOINT_AGREED_PLAN_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "base/digest128.h"
#include "checkpoint/derived_plan.h"
#include "dcp/metadata.h"
#include "dcp/plan.h"

namespace dcp {

/// A plan of closed form, as far as one rank has to do with it. Where ranks
/// have objects of their own it is of the tensors alone, and the objects were
/// gathered beside it.
struct AgreedPlan {
  Digest128 id;  ///< of what ranks announced: another one if that differs
  /// Null where it is only known that there is none.
  std::shared_ptr<const DerivedPlan> derived;
  /// What this rank writes of gathered objects, their `source` being their
  /// number among its objects. nullopt if none were gathered.
  std::optional<SavePlan> own_objects;
  /// On the coordinator, all of these; else null.
  std::shared_ptr<const GlobalPlan> objects;
};

/// The objects of a rank's local plan, with their paths, as a plan by itself.
SavePlan ObjectsOf(const SavePlan& local);

/// What `rank` writes, `local` being its local plan: of `agreed`, which has a
/// derived plan.
SavePlan ShareOf(const AgreedPlan& agreed, uint32_t rank,
                 const SavePlan& local);

/// The plan of all ranks; on the coordinator. The items of a rank come in any
/// order, and those of objects have no `source`.
GlobalPlan GlobalPlanOf(const AgreedPlan& agreed);

/// Whether a key is an object of `objects` and a tensor of `derived`.
bool HasKeyInBoth(const DerivedPlan& derived, const Metadata& objects);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_AGREED_PLAN_H_
