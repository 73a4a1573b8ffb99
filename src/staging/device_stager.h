// DeviceStager: has devices copy the units of a lane, some at a time.

#ifndef DCP_STAGING_DEVICE_STAGER_H_
#define DCP_STAGING_DEVICE_STAGER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "dcp/device_runtime.h"
#include "dcp/status.h"
#include "dcp/trace.h"
#include "staging/device_copiers.h"
#include "staging/lane_copier.h"
#include "staging/write_rate.h"

namespace dcp {

struct DeviceStagerOptions {
  /// Of the lane's memory: all of it, or nothing that is known of.
  bool is_pinned = false;
  /// Addresses that no batch crosses, ascending.
  std::vector<const std::byte*> borders;
  /// Bounds the copies; may be null.
  std::shared_ptr<WriteRate> rate;
  std::shared_ptr<Trace> trace;  // may be null
};

/// One thread has it. Everything it refers to outlives it.
class DeviceStager {
 public:
  /// Bytes of a unit: events are few, and writers have something soon.
  static constexpr int64_t kUnit = int64_t{32} << 20;

  /// What a stager's owner does.
  struct Calls {
    /// Asked now and then: whether to stop.
    std::function<bool()> is_over;
    /// The unit's bytes are there.
    std::function<void(size_t unit)> on_copied;
  };

  DeviceStager(LaneCopier& lane, DeviceCopiers& copiers,
               DeviceStagerOptions options)
      : lane_(lane), copiers_(copiers), options_(std::move(options)) {}

  /// Copies until all units are there, or it is over: then those in flight end
  /// first. What an error leaves in flight, the copiers' Drain() waits for.
  Status Run(const Calls& calls);

 private:
  struct Batch {
    DeviceCopier* copier;
    uint64_t number;
  };
  struct Unit {
    size_t number;
    std::vector<Batch> batches;
    Trace::TimePoint begin;
  };

  Status AwaitRate(size_t unit, const Calls& calls);
  Status Enqueue(size_t unit);
  Status EnqueueOn(Device device, std::span<const JobPart> parts);
  /// Tells of units that are complete, from the first on.
  Status Poll(const Calls& calls);
  Status AwaitFirst(const Calls& calls);

  LaneCopier& lane_;
  DeviceCopiers& copiers_;
  const DeviceStagerOptions options_;
  std::deque<Unit> in_flight_;
};

}  // namespace dcp

#endif  // DCP_STAGING_DEVICE_STAGER_H_
