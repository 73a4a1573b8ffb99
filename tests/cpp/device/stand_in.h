// A test's view of the stand-in for libcuda.so.1, and copies to be made by it.

#ifndef DCP_TESTS_DEVICE_STAND_IN_H_
#define DCP_TESTS_DEVICE_STAND_IN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dcp/device_runtime.h"
#include "device/stand_in_driver.h"

namespace dcp {

inline constexpr uintptr_t kStream = 0x5000;
inline constexpr Device kSecond{.type = DeviceType::kCuda, .index = 1};

/// A driver in its initial state.
StandInState& Driver(const char* file = DCP_STAND_IN_DRIVER);

/// Tensors in memory that is taken for a device's, and a place for their
/// copies.
struct Tensors {
  explicit Tensors(const std::vector<size_t>& sizes = {100, 7, 3 << 20, 65536,
                                                       70000, 1});

  CopyBatch Batch(bool is_pinned = true);
  bool AreCopied() const;

  std::vector<std::string> memory;
  std::vector<DeviceCopy> copies;
  std::string host;
};

/// Enqueues `batch` after kStream, and waits for it.
Status CopyAll(DeviceCopier& copier, const CopyBatch& batch);

}  // namespace dcp

#endif  // DCP_TESTS_DEVICE_STAND_IN_H_
