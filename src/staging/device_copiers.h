// DeviceCopiers: the copiers of a snapshot, one a device.

#ifndef DCP_STAGING_DEVICE_COPIERS_H_
#define DCP_STAGING_DEVICE_COPIERS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <span>

#include "dcp/device_runtime.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// One thread at a time.
class DeviceCopiers {
 public:
  DeviceCopiers() = default;
  DeviceCopiers(DeviceCopiers&&) = default;
  DeviceCopiers& operator=(DeviceCopiers&&) = default;

  /// Makes a copier for each device that `views` are on, ordered after what
  /// their streams have at this moment. `runtime` may be null if all are the
  /// CPU's.
  Status Make(std::span<const TensorView> views, DeviceRuntime* runtime,
              CopyMethod method);
  /// Of a device that a view was on.
  DeviceCopier& For(Device device) { return *copiers_.at(device.index); }
  /// Waits for what is enqueued.
  void Drain();
  /// `view`, to be read on the stream of its device's copier, if there is one.
  /// In any thread, while no other one changes the copiers.
  TensorView OnOwnStream(TensorView view) const;

 private:
  std::map<int, std::unique_ptr<DeviceCopier>> copiers_;  // by device index
};

}  // namespace dcp

#endif  // DCP_STAGING_DEVICE_COPIERS_H_
