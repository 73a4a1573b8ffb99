// DeviceStage and DeviceTensors: what snapshots of device memory are tested
// with.

#ifndef DCP_TESTS_STAGING_DEVICE_STAGE_H_
#define DCP_TESTS_STAGING_DEVICE_STAGE_H_

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "staging/snapshot.h"
#include "staging/test_pages.h"
#include "testing/fake_device.h"
#include "testing/manual_clock.h"

namespace dcp {

inline constexpr int64_t kMiB = int64_t{1} << 20;

inline Status NothingToAsk() { return absl::OkStatus(); }

/// An arena and a device in simulated time.
struct DeviceStage {
  explicit DeviceStage(const testing::StreamTiming& timing = {},
                       testing::SleepMode mode = testing::SleepMode::kAdvances)
      : clock(std::make_shared<testing::ManualClock>(mode)),
        device(std::make_shared<testing::FakeDevice>(clock, timing)) {}

  std::unique_ptr<Snapshot> Make(const std::vector<TensorView>& views,
                                 SnapshotOptions options = {}) {
    if (options.max_nbytes == 0) options.max_nbytes = int64_t{1} << 30;
    options.threads = 2;
    return std::make_unique<Snapshot>(
        views, nullptr, options,
        SnapshotParts{.arena = arena, .device = device});
  }

  PagesRecord pages;
  HostArena arena{std::make_unique<TestPages>(pages)};
  std::shared_ptr<testing::ManualClock> clock;
  std::shared_ptr<testing::FakeDevice> device;
};

/// Memory of a device, that its trainer fills some time.
struct DeviceTensors {
  /// Of these sizes, on the first device, or on both in turns.
  DeviceTensors(const std::vector<size_t>& sizes, bool on_both) {
    for (size_t i = 0; i < sizes.size(); ++i) {
      values.emplace_back(sizes[i], static_cast<char>('A' + i % 50));
      values.back()[0] = static_cast<char>(i);
      memory.emplace_back(sizes[i], '-');
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto numel = static_cast<int64_t>(sizes[i]);
      views.push_back(testing::FakeDevice::OnDevice(
          ContiguousView(memory[i].data(), DType::kInt8, {numel}),
          on_both && i % 3 == 1 ? testing::FakeDevice::kSecond
                                : testing::FakeDevice::kDevice));
    }
  }

  void Compute() { Fill(values); }
  void Overwrite() {
    for (std::string& tensor : memory)
      std::memset(tensor.data(), 0, tensor.size());
  }
  bool IsCopy(size_t i, const TensorView& copy) const {
    return testing::FakeDevice::TurnedOver({static_cast<const char*>(copy.data),
                                            values[i].size()}) == values[i];
  }

  std::vector<std::string> values;
  std::vector<std::string> memory;
  std::vector<TensorView> views;

 private:
  void Fill(const std::vector<std::string>& with) {
    for (size_t i = 0; i < memory.size(); ++i) {
      std::memcpy(memory[i].data(), with[i].data(), with[i].size());
    }
  }
};

/// Whether all copies of `snapshot`, which is copied, are what was computed.
inline bool HoldsAll(Snapshot& snapshot, const DeviceTensors& tensors) {
  DCP_CHECK_OK(snapshot.BeginUse(NothingToAsk));
  bool right = true;
  for (size_t i = 0; i < tensors.views.size(); ++i) {
    const auto copy = snapshot.AwaitView(tensors.views[i], i, NothingToAsk);
    right = right && copy.ok() && tensors.IsCopy(i, *copy);
  }
  snapshot.EndUse();
  return right;
}

}  // namespace dcp

#endif  // DCP_TESTS_STAGING_DEVICE_STAGE_H_
