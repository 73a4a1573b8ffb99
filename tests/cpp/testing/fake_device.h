// FakeDevice: a DeviceRuntime whose memory is not the host's.

#ifndef DCP_TESTS_TESTING_FAKE_DEVICE_H_
#define DCP_TESTS_TESTING_FAKE_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "dcp/device_runtime.h"

namespace dcp::testing {

/// Device memory is host memory with every bit turned over, so that whoever
/// reads or writes it without the runtime gets wrong bytes. Thread-safe.
class FakeDevice final : public DeviceRuntime {
 public:
  std::string Describe() const override { return "fake"; }
  bool available() const override { return true; }
  Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                    Device device, uintptr_t stream) override {
    return Copy(host, device_data, nbytes, device, stream);
  }
  Status CopyToDevice(void* device_data, const void* host, size_t nbytes,
                      Device device, uintptr_t stream) override {
    return Copy(device_data, host, nbytes, device, stream);
  }

  /// Is called before each copy, in the thread that asks for it; set before
  /// there is any.
  std::function<void()> on_copy;

  /// The copy with this number, from 1, and all later ones fail.
  void FailFrom(int64_t copy) { fail_from_ = copy; }
  int64_t copies() const { return copies_; }

  /// The device and stream that copies must come with.
  static constexpr Device kDevice{.type = DeviceType::kCuda, .index = 1};
  static constexpr uintptr_t kStream = 77;

  /// `bytes` as they lie in device memory, and back.
  static std::string TurnedOver(std::string_view bytes) {
    std::string turned(bytes);
    for (char& c : turned) c = static_cast<char>(~c);
    return turned;
  }
  /// A view of device memory.
  static TensorView OnDevice(TensorView view) {
    view.device = kDevice;
    view.stream = kStream;
    return view;
  }

 private:
  Status Copy(void* to, const void* from, size_t nbytes, Device device,
              uintptr_t stream) {
    if (on_copy) on_copy();
    const int64_t number = ++copies_;
    if (fail_from_ > 0 && number >= fail_from_) {
      return MakeStatus(absl::StatusCode::kUnknown, "the device fell off");
    }
    if (!(device == kDevice) || stream != kStream) {
      return InvalidArgument("a copy for another device or stream");
    }
    const auto* source = static_cast<const unsigned char*>(from);
    auto* target = static_cast<unsigned char*>(to);
    for (size_t i = 0; i < nbytes; ++i) {
      target[i] = static_cast<unsigned char>(~source[i]);
    }
    return absl::OkStatus();
  }

  std::atomic<int64_t> copies_{0};
  std::atomic<int64_t> fail_from_{0};
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FAKE_DEVICE_H_
