// MetadataSizer: how large the `.metadata` of a job is.

#ifndef DCP_SIMULATE_METADATA_SIZER_H_
#define DCP_SIMULATE_METADATA_SIZER_H_

#include <cstdint>

#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "simulate/rank_sample.h"
#include "simulate/simulated_job.h"

namespace dcp {

/// Serializes what some ranks write: all of them, or so many that it fits the
/// memory of any machine.
class MetadataSizer {
 public:
  MetadataSizer(const SimulatedJob& job, const RankSample& sample);

  /// Whether rank `i` of the sample is one of those that are taken.
  bool Takes(int64_t i) const { return i % every_ == 0; }
  /// `share`: what that rank writes, all of it tensors of the job.
  void Add(uint32_t rank, const SavePlan& share);
  int64_t ranks_taken() const { return ranks_taken_; }

  /// The bytes of a `.metadata` of `items` items of which those that were added
  /// are typical; exact if they are all.
  StatusOr<int64_t> NbytesOf(int64_t items) const;

 private:
  int64_t every_ = 1;
  int64_t ranks_taken_ = 0;
  int64_t items_added_ = 0;
  Metadata metadata_;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_METADATA_SIZER_H_
