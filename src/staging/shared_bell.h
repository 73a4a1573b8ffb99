// SharedBell: how processes that share memory wake each other.

#ifndef DCP_STAGING_SHARED_BELL_H_
#define DCP_STAGING_SHARED_BELL_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace dcp {

/// Lies in memory that several processes map, zeros to begin with (futex(2)).
/// Who waits for something notes `value()`, looks whether it is there, and
/// waits for another value if it is not. Thread-safe.
class SharedBell {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  /// Wakes all that wait, after what they wait for has been stored.
  void Ring();
  /// Returns when it has rung since it had the value `seen`, when `patience`
  /// is over, or earlier.
  void Wait(uint32_t seen, std::chrono::milliseconds patience);

 private:
  std::atomic<uint32_t> value_{0};
};

}  // namespace dcp

#endif  // DCP_STAGING_SHARED_BELL_H_
