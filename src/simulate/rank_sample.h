// RankSample: ranks that stand for all of a job.

#ifndef DCP_SIMULATE_RANK_SAMPLE_H_
#define DCP_SIMULATE_RANK_SAMPLE_H_

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace dcp {

/// All ranks, or about `wanted` of them, evenly spaced. The space has no
/// divisor in common with the number of ranks, so that ranks are at all
/// coordinates of a mesh. Immutable.
class RankSample {
 public:
  /// Both from 1.
  RankSample(int64_t ranks, int64_t wanted)
      : ranks_(ranks), step_(StepOf(ranks, wanted)) {}

  int64_t size() const { return (ranks_ + step_ - 1) / step_; }
  bool is_all() const { return step_ == 1; }
  /// Rank `i` of the sample, ascending.
  uint32_t RankAt(int64_t i) const { return static_cast<uint32_t>(i * step_); }
  /// What a sum over the sample is to be multiplied by.
  double scale() const {
    return static_cast<double>(ranks_) / static_cast<double>(size());
  }

 private:
  static int64_t StepOf(int64_t ranks, int64_t wanted) {
    int64_t step = (ranks + wanted - 1) / wanted;
    while (step > 1 && step < ranks && std::gcd(step, ranks) != 1) ++step;
    return std::clamp<int64_t>(step, 1, ranks);
  }

  int64_t ranks_;
  int64_t step_;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_RANK_SAMPLE_H_
