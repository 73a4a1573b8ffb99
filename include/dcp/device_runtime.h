// DeviceRuntime: the seam to GPU memory. libcuda is looked up at run time.

#ifndef DCP_DEVICE_RUNTIME_H_
#define DCP_DEVICE_RUNTIME_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Bytes that go from device memory to a place in host memory.
struct DeviceCopy {
  const void* device_data = nullptr;
  size_t offset = 0;  ///< in CopyBatch::host
  size_t nbytes = 0;
};

/// Copies that are enqueued together and are complete together.
struct CopyBatch {
  /// All of it is pinned, by one Pin(), or none of it is.
  std::span<std::byte> host;
  bool is_pinned = false;
  /// Disjoint, by ascending offset. What lies between two of them in `host` may
  /// be written as well.
  std::span<const DeviceCopy> copies;
};

/// How many small copies become few.
enum class CopyMethod : uint8_t {
  /// The driver takes a batch in one call; an older one, one copy a call.
  kBatched,
  /// A kernel gathers them into one piece of device memory, which is copied by
  /// one transfer. Without the kernel (PackKernelState) as kBatched.
  kPacked,
};

/// Copies from one device's memory on a stream of its own, of the lowest
/// priority, and never waits for the device as a whole or for other streams'
/// work that it was not ordered after.
///
/// One thread at a time, but for stream(). The runtime may go before it.
/// Destroying it waits as Drain() does.
class DeviceCopier {
 public:
  virtual ~DeviceCopier() = default;

  /// What is enqueued from now on runs after the work that `stream` (as
  /// TensorView::stream) has at this moment.
  virtual Status OrderAfter(uintptr_t stream) = 0;
  /// Begins a batch and returns its number, by which it is asked for. Memory
  /// that is not pinned may make the call wait for the copies.
  ///
  /// `batch.copies` may go at once; host and device memory stay until the batch
  /// is complete, or the copier is gone. After an error some copies may be
  /// under way: Drain() waits for them.
  virtual StatusOr<uint64_t> Enqueue(const CopyBatch& batch) = 0;
  /// Whether Wait(batch) would return at once. Batches may be complete in any
  /// order. An error of a copy comes out here or there.
  virtual StatusOr<bool> IsComplete(uint64_t batch) = 0;
  /// Returns once the batch is complete, which nobody asks for any more then.
  virtual Status Wait(uint64_t batch) = 0;
  /// Waits for what is enqueued, complete or failed: nothing of it writes to
  /// host memory any more.
  virtual void Drain() = 0;
  /// Its stream, as TensorView::stream: what DeviceRuntime copies there comes
  /// after what the copier is ordered after. Gone with the copier.
  virtual uintptr_t stream() const = 0;
};

/// Copies between host and device memory.
///
/// Thread-safe. A copy is ordered after the work queued so far on the caller's
/// stream (TensorView::stream) and is complete when the call returns.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  /// "cuda 13.0 (libcuda.so.1)", "none: libcuda.so.1 not found", ...
  virtual std::string Describe() const = 0;
  virtual bool available() const = 0;

  /// \error kFailedPrecondition  no such device, or no runtime
  virtual Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                            Device device, uintptr_t stream) = 0;
  virtual Status CopyToDevice(void* device_data, const void* host,
                              size_t nbytes, Device device,
                              uintptr_t stream) = 0;

  /// For copies that go on while the caller does other things.
  virtual StatusOr<std::unique_ptr<DeviceCopier>> MakeCopier(
      Device device, CopyMethod method) = 0;
  /// Pins whole pages of host memory, so that devices reach them: copies are
  /// several times as fast, and do not make their caller wait. `device` is any
  /// one that is in use; the others reach it, too.
  virtual Status Pin(std::span<std::byte> memory, Device device) = 0;
  /// Takes back what one Pin() was given, before it is unmapped.
  virtual Status Unpin(std::span<std::byte> memory, Device device) = 0;
  /// The number of the host's NUMA node that `device` is attached to: what it
  /// copies to is best there. nullopt: the host has one node, or does not say.
  virtual std::optional<int> HostNode(Device device) {
    (void)device;
    return std::nullopt;
  }
};

/// The CUDA driver found in this process's environment, or a runtime whose
/// available() is false and whose copies fail with a reason.
std::shared_ptr<DeviceRuntime> MakeCudaRuntime();

/// No device, and no look for one.
std::shared_ptr<DeviceRuntime> MakeNoDeviceRuntime();

/// As MakeCudaRuntime, with another library than libcuda.so.1, or another place
/// than Linux's for what there is of devices (tests).
std::shared_ptr<DeviceRuntime> MakeCudaRuntimeFrom(
    const std::string& library, const std::string& sysfs = "/sys");

/// What this build has of CopyMethod::kPacked: "built in", or why it has none.
std::string PackKernelState();

}  // namespace dcp

#endif  // DCP_DEVICE_RUNTIME_H_
