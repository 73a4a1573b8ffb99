// ClosedFormPlan: a save plan that every rank derives by itself.
//
// CreateGlobalSavePlan needs the plans of all ranks in one place. Where the
// state is a matter of meshes and placements, what each rank holds follows from
// the specs, so all that ranks need to exchange is that they have the same.

#ifndef DCP_PLAN_CLOSED_FORM_PLAN_H_
#define DCP_PLAN_CLOSED_FORM_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "dcp/plan.h"
#include "plan/holder_classes.h"
#include "plan/holder_shares.h"

namespace dcp {

/// Immutable, safe for concurrent use. Refers to the specs and numbers that it
/// is made of.
class ClosedFormPlan {
 public:
  /// `spec_of_rank` has for each rank the number of its spec. The result is the
  /// same on every rank that is given the same.
  ///
  /// As CreateGlobalSavePlan makes it, each chunk has one writer among its
  /// holders, or, if it is replicated and large, is split between them. Loads
  /// are balanced by bytes, but the owners are others, and at most 1,024
  /// holders share in writing one chunk.
  /// \error kUnimplemented  the state is not of closed form: plan it by
  ///     CreateGlobalSavePlan, which also finds what is wrong where something
  ///     is. So are: a mesh whose ranks are not those of the specs that have
  ///     the tensor; a key that is not the same in all specs that have it, or
  ///     twice in one (tensors may lie on several meshes of one shape, if each
  ///     has them laid out alike); strided shards that are no whole runs of
  ///     rows; with `dedup_to_lowest_rank`, a mesh whose ranks do not ascend;
  ///     a spec that CheckStateSpec refuses.
  static StatusOr<ClosedFormPlan> Make(std::span<const StateSpec> specs,
                                       std::span<const uint32_t> spec_of_rank,
                                       const GlobalPlanOptions& options);

  /// What `rank`, of those of `spec_of_rank`, writes: as GlobalPlan::plans has
  /// it, with `source` being the position in the entries of its spec. To walk
  /// over all ranks' shares, ask for one after the other; each is made when it
  /// is asked for.
  SavePlan ShareOf(uint32_t rank) const;

  /// What the shares of all ranks make: as GlobalPlan::metadata. Its chunks are
  /// disjoint and cover their tensors, so they need no ValidateChunks.
  Metadata MakeMetadata() const;

 private:
  ClosedFormPlan(HolderClasses holders, std::vector<KeyShares> shares,
                 bool takes_lowest)
      : holders_(std::move(holders)),
        shares_(std::move(shares)),
        takes_lowest_(takes_lowest) {}

  HolderClasses holders_;
  std::vector<KeyShares> shares_;  // by key; empty if takes_lowest_
  bool takes_lowest_ = false;
};

}  // namespace dcp

#endif  // DCP_PLAN_CLOSED_FORM_PLAN_H_
