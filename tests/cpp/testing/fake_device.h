// FakeDevice: a DeviceRuntime whose memory is not the host's.

#ifndef DCP_TESTS_TESTING_FAKE_DEVICE_H_
#define DCP_TESTS_TESTING_FAKE_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/device_runtime.h"
#include "testing/stream_simulation.h"

namespace dcp::testing {

/// Device memory is host memory with every bit turned over, so that whoever
/// reads or writes it without the runtime gets wrong bytes.
///
/// A copier's copy takes its bytes at its end and not before; the host memory
/// that it goes to has wrong bytes until then. Copies and the caller's work
/// (Enqueue) are on streams, in simulated time. Thread-safe.
class FakeDevice final : public DeviceRuntime {
 public:
  /// All takes no time.
  FakeDevice() : FakeDevice(MakeSystemClock(), {}) {}
  FakeDevice(std::shared_ptr<Clock> clock, const StreamTiming& timing)
      : streams_(std::move(clock), timing) {}

  std::string Describe() const override { return "fake"; }
  bool available() const override { return true; }
  Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                    Device device, uintptr_t stream) override;
  Status CopyToDevice(void* device_data, const void* host, size_t nbytes,
                      Device device, uintptr_t stream) override;
  StatusOr<std::unique_ptr<DeviceCopier>> MakeCopier(
      Device device, CopyMethod method) override;
  Status Pin(std::span<std::byte> memory, Device device) override;
  Status Unpin(std::span<std::byte> memory, Device device) override;

  /// Is called before each copy, in the thread that asks for it; set before
  /// there is any.
  std::function<void()> on_copy;

  /// Are called before memory is pinned, and after it was unpinned; an error is
  /// the call's. Set before there is any.
  std::function<Status()> on_pin;
  std::function<Status()> on_unpin;

  /// When a copier's copy tells that it failed.
  enum class Failure : uint8_t { kWhenEnqueued, kWhenAwaited };
  /// The copy with this number, from 1, and all later ones fail.
  void FailFrom(int64_t copy, Failure failure = Failure::kWhenEnqueued) {
    fail_from_ = copy;
    failure_ = failure;
  }
  int64_t copies() const { return copies_; }
  /// Batches that copiers were given.
  int64_t batches() const { return batches_; }
  /// Copiers that are there.
  int64_t copiers() const;

  /// What may be pinned at a time.
  void LimitPinned(int64_t nbytes) { max_pinned_ = nbytes; }
  int64_t pinned_nbytes() const;

  std::optional<int> HostNode(Device) override { return host_node; }
  /// Where on the host all devices are; set before there are copies.
  std::optional<int> host_node;

  /// Work of the caller, on its stream.
  void Enqueue(std::function<void()> work) {
    streams_.Enqueue(kStream, 0, std::move(work));
  }
  StreamSimulation& streams() { return streams_; }

  /// The devices and the stream that copies must come with.
  static constexpr Device kDevice{.type = DeviceType::kCuda, .index = 1};
  static constexpr Device kSecond{.type = DeviceType::kCuda, .index = 2};
  static constexpr uintptr_t kStream = 77;

  /// `bytes` as they lie in device memory, and back.
  static std::string TurnedOver(std::string_view bytes) {
    std::string turned(bytes);
    for (char& c : turned) c = static_cast<char>(~c);
    return turned;
  }
  /// A view of device memory.
  static TensorView OnDevice(TensorView view, Device device = kDevice) {
    view.device = device;
    view.stream = kStream;
    return view;
  }

 private:
  friend class FakeCopier;

  Status Copy(void* to, const void* from, size_t nbytes, Device device,
              uintptr_t stream);
  uintptr_t MakeStream();
  void RemoveStream(uintptr_t stream);
  /// The caller's, or that of a copier that is there.
  bool HasStream(uintptr_t stream) const;
  /// Counts a copy; false: it fails.
  bool CountCopy();
  /// As CUDA has it: a transfer is to memory that was pinned at once, or not
  /// pinned.
  Status CheckPlace(std::span<const std::byte> host, bool is_pinned) const;

  std::atomic<int64_t> copies_{0};
  std::atomic<int64_t> batches_{0};
  std::atomic<int64_t> fail_from_{0};
  std::atomic<Failure> failure_{Failure::kWhenEnqueued};
  std::atomic<int64_t> max_pinned_{int64_t{1} << 40};
  StreamSimulation streams_;
  mutable Mutex mutex_;
  std::map<const std::byte*, size_t> pinned_ ABSL_GUARDED_BY(mutex_);
  uintptr_t last_stream_ ABSL_GUARDED_BY(mutex_) = 1000;
  std::set<uintptr_t> own_streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FAKE_DEVICE_H_
