#include "staging/lane_copier.h"

#include <algorithm>
#include <iterator>

#include "base/strided_copy.h"
#include "staging/copy_past_cache.h"

namespace dcp {
namespace {

void CopyPart(const JobPart& part) {
  const TensorView& source = part.job.source;
  if (part.job.is_dense) {
    CopyPastCache(part.out.data(),
                  static_cast<const std::byte*>(source.data) + part.begin,
                  part.out.size());
  } else {
    GatherRange(source, source.dtype, part.begin, part.out);
  }
}

}  // namespace

void LaneCopier::Begin(const CopyLane& lane, std::span<std::byte> memory,
                       int64_t unit_nbytes) {
  lane_ = &lane;
  memory_ = memory;
  unit_nbytes_ = unit_nbytes;
  is_done_.resize(
      static_cast<size_t>((lane.nbytes + unit_nbytes - 1) / unit_nbytes));
}

std::optional<size_t> LaneCopier::TakeUnit() {
  const size_t unit = next_.fetch_add(1, std::memory_order_relaxed);
  if (unit >= unit_count()) return std::nullopt;
  return unit;
}

std::span<std::byte> LaneCopier::MemoryOf(size_t unit) const {
  const auto nbytes = static_cast<size_t>(unit_nbytes_);
  const size_t begin = unit * nbytes;
  return memory_.subspan(begin, std::min(nbytes, memory_.size() - begin));
}

std::vector<JobPart> LaneCopier::PartsOf(size_t unit) const {
  std::vector<JobPart> parts;
  const int64_t begin = static_cast<int64_t>(unit) * unit_nbytes_;
  const int64_t end = std::min(begin + unit_nbytes_, lane_->nbytes);
  auto job = std::upper_bound(
      lane_->jobs.begin(), lane_->jobs.end(), begin,
      [](int64_t offset, const CopyJob& j) { return offset < j.offset; });
  // The first job of a lane lies at 0.
  for (job = std::prev(job); job != lane_->jobs.end() && job->offset < end;
       ++job) {
    const int64_t from = std::max(begin, job->offset);
    const int64_t to = std::min(end, job->offset + job->nbytes);
    if (from >= to) continue;
    parts.push_back({.job = *job,
                     .begin = from - job->offset,
                     .out = memory_.subspan(static_cast<size_t>(from),
                                            static_cast<size_t>(to - from))});
  }
  return parts;
}

void LaneCopier::CopyUnit(size_t unit) const {
  for (const JobPart& part : PartsOf(unit)) CopyPart(part);
}

void LaneCopier::MarkDone(size_t unit) {
  is_done_[unit] = true;
  while (units_in_front_ < unit_count() && is_done_[units_in_front_]) {
    ++units_in_front_;
  }
  front_ = std::min(static_cast<int64_t>(units_in_front_) * unit_nbytes_,
                    lane_->nbytes);
}

}  // namespace dcp
