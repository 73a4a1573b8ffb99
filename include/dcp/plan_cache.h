// PlanCache: what a rank remembers of the last plan of its saves.

#ifndef DCP_PLAN_CACHE_H_
#define DCP_PLAN_CACHE_H_

#include <memory>

namespace dcp {

struct AgreedPlan;

/// The last plan that the saves of a rank derived from what its ranks have in
/// common, and what became of objects that each has for itself; takes the
/// memory of that. Belongs to who saves over a transport:
/// saves of the same state over the same ranks then exchange digests, and
/// nothing else, to know who writes what. It cannot be stale, because they do
/// so each time.
///
/// One save at a time.
class PlanCache {
 private:
  friend class PlanAgreement;  // src/checkpoint/plan_agreement.h

  std::shared_ptr<const AgreedPlan> last_;
};

}  // namespace dcp

#endif  // DCP_PLAN_CACHE_H_
