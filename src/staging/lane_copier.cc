#include "staging/lane_copier.h"

#include <algorithm>
#include <iterator>

#include "base/strided_copy.h"
#include "staging/copy_past_cache.h"

namespace dcp {
namespace {

// Short enough that threads end at the same time and writers can begin early.
constexpr int64_t kUnit = int64_t{4} << 20;

/// Bytes [begin, begin + out.size()) of what `job` copies.
Status CopyPart(const CopyJob& job, int64_t begin, std::span<std::byte> out,
                DeviceRuntime* device) {
  const TensorView& source = job.source;
  const auto* from = static_cast<const std::byte*>(source.data) + begin;
  if (source.device.type == DeviceType::kCpu) {
    if (job.is_dense) {
      CopyPastCache(out.data(), from, out.size());
    } else {
      GatherRange(source, source.dtype, begin, out);
    }
    return absl::OkStatus();
  }
  if (!job.is_dense) {
    return Unimplemented(
        "a device tensor must be contiguous to be saved; pass a contiguous "
        "copy");
  }
  return device->CopyToHost(out.data(), from, out.size(), source.device,
                            source.stream);
}

}  // namespace

void LaneCopier::Begin(const CopyLane& lane, std::span<std::byte> memory) {
  lane_ = &lane;
  memory_ = memory;
  is_done_.resize(static_cast<size_t>((lane.nbytes + kUnit - 1) / kUnit));
}

std::optional<size_t> LaneCopier::TakeUnit() {
  const size_t unit = next_.fetch_add(1, std::memory_order_relaxed);
  if (unit >= unit_count()) return std::nullopt;
  return unit;
}

Status LaneCopier::CopyUnit(size_t unit, DeviceRuntime* device) const {
  const int64_t begin = static_cast<int64_t>(unit) * kUnit;
  const int64_t end = std::min(begin + kUnit, lane_->nbytes);
  auto job = std::upper_bound(
      lane_->jobs.begin(), lane_->jobs.end(), begin,
      [](int64_t offset, const CopyJob& j) { return offset < j.offset; });
  // The first job of a lane lies at 0.
  for (job = std::prev(job); job != lane_->jobs.end() && job->offset < end;
       ++job) {
    const int64_t from = std::max(begin, job->offset);
    const int64_t to = std::min(end, job->offset + job->nbytes);
    if (from >= to) continue;
    DCP_RETURN_IF_ERROR(
        CopyPart(*job, from - job->offset,
                 memory_.subspan(static_cast<size_t>(from),
                                 static_cast<size_t>(to - from)),
                 device));
  }
  return absl::OkStatus();
}

void LaneCopier::MarkDone(size_t unit) {
  is_done_[unit] = true;
  while (units_in_front_ < unit_count() && is_done_[units_in_front_]) {
    ++units_in_front_;
  }
  front_ =
      std::min(static_cast<int64_t>(units_in_front_) * kUnit, lane_->nbytes);
}

}  // namespace dcp
