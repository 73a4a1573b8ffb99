// 1. A unit is a batch for each stretch of it that is one device's and pinned
//    at once: what lies between the copies of a batch is nobody's. A few units
//    are in flight, so that a device always has the next one, and cancelling
//    does not take long.
// 2. Units are told of in order, as nobody reads past the front of a lane;
//    their batches may complete in any order.
// 3. While the rate holds the next unit back, those in flight are asked after.

#include "staging/device_stager.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dcp {
namespace {

constexpr size_t kInFlight = 4;

/// Copies of neighbors that no border divides.
struct Stretch {
  std::byte* begin = nullptr;
  std::byte* end = nullptr;
  size_t border = 0;  ///< number of the one behind it
  std::vector<DeviceCopy> copies;
};

using Borders = std::span<const std::byte* const>;

void Add(const JobPart& part, Borders borders,
         std::vector<Stretch>& stretches) {
  const auto* from =
      static_cast<const std::byte*>(part.job.source.data) + part.begin;
  for (size_t at = 0; at < part.out.size();) {
    std::byte* const to = part.out.data() + at;
    const auto border = static_cast<size_t>(
        std::upper_bound(borders.begin(), borders.end(), to) - borders.begin());
    size_t nbytes = part.out.size() - at;
    if (border < borders.size()) {
      nbytes = std::min(nbytes, static_cast<size_t>(borders[border] - to));
    }
    if (stretches.empty() || stretches.back().border != border) {
      stretches.push_back({.begin = to, .border = border});
    }
    Stretch& stretch = stretches.back();
    stretch.end = to + nbytes;
    stretch.copies.push_back({.device_data = from + at,
                              .offset = static_cast<size_t>(to - stretch.begin),
                              .nbytes = nbytes});
    at += nbytes;
  }
}

}  // namespace

Status DeviceStager::Run(const Calls& calls) {
  while (!calls.is_over()) {
    const auto unit = lane_.TakeUnit();
    if (!unit) break;
    DCP_RETURN_IF_ERROR(AwaitRate(*unit, calls));
    if (calls.is_over()) break;
    DCP_RETURN_IF_ERROR(Enqueue(*unit));
    if (in_flight_.size() >= kInFlight) {
      DCP_RETURN_IF_ERROR(AwaitFirst(calls));
    }
    DCP_RETURN_IF_ERROR(Poll(calls));
  }
  while (!in_flight_.empty()) DCP_RETURN_IF_ERROR(AwaitFirst(calls));
  return absl::OkStatus();
}

Status DeviceStager::AwaitRate(size_t unit, const Calls& calls) {
  if (options_.rate == nullptr) return absl::OkStatus();
  Status polled;
  options_.rate->Await(static_cast<int64_t>(lane_.MemoryOf(unit).size()), [&] {
    polled.Update(Poll(calls));
    return !polled.ok() || calls.is_over();
  });
  return polled;
}

Status DeviceStager::Enqueue(size_t unit) {
  const std::vector<JobPart> parts = lane_.PartsOf(unit);
  in_flight_.push_back(
      {.number = unit, .begin = std::chrono::steady_clock::now()});
  for (auto first = parts.begin(); first != parts.end();) {
    const Device device = first->job.source.device;
    const auto last = std::find_if(first, parts.end(), [&](const auto& part) {
      return part.job.source.device != device;
    });
    DCP_RETURN_IF_ERROR(EnqueueOn(device, {first, last}));
    first = last;
  }
  return absl::OkStatus();
}

Status DeviceStager::EnqueueOn(Device device, std::span<const JobPart> parts) {
  std::vector<Stretch> stretches;
  for (const JobPart& part : parts) {
    if (!part.job.is_dense) {
      return Unimplemented(
          "a device tensor must be contiguous to be saved; pass a contiguous "
          "copy");
    }
    Add(part, options_.borders, stretches);
  }
  DeviceCopier& copier = copiers_.For(device);
  for (const Stretch& stretch : stretches) {
    DCP_ASSIGN_OR_RETURN(const uint64_t number,
                         copier.Enqueue({.host = {stretch.begin, stretch.end},
                                         .is_pinned = options_.is_pinned,
                                         .copies = stretch.copies}));
    in_flight_.back().batches.push_back({.copier = &copier, .number = number});
  }
  return absl::OkStatus();
}

Status DeviceStager::Poll(const Calls& calls) {
  while (!in_flight_.empty()) {
    for (const Batch& batch : in_flight_.front().batches) {
      DCP_ASSIGN_OR_RETURN(const bool is_complete,
                           batch.copier->IsComplete(batch.number));
      if (!is_complete) return absl::OkStatus();
    }
    DCP_RETURN_IF_ERROR(AwaitFirst(calls));
  }
  return absl::OkStatus();
}

Status DeviceStager::AwaitFirst(const Calls& calls) {
  for (const Batch& batch : in_flight_.front().batches) {
    DCP_RETURN_IF_ERROR(batch.copier->Wait(batch.number));
  }
  const Unit& unit = in_flight_.front();
  if (options_.trace != nullptr) {
    options_.trace->Add(
        "copy", unit.begin, std::chrono::steady_clock::now(),
        static_cast<int64_t>(lane_.MemoryOf(unit.number).size()));
  }
  calls.on_copied(unit.number);
  in_flight_.pop_front();
  return absl::OkStatus();
}

}  // namespace dcp
