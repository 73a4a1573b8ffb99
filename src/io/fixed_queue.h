// FixedQueue: first in, first out, in memory that is there from the start.

#ifndef DCP_IO_FIXED_QUEUE_H_
#define DCP_IO_FIXED_QUEUE_H_

#include <cstddef>
#include <utility>
#include <vector>

namespace dcp {

/// Holds at most `capacity` elements. Push and Pop cannot fail, so that what is
/// in flight is never lost for want of memory.
template <typename T>
class FixedQueue {
 public:
  explicit FixedQueue(size_t capacity) : slots_(capacity) {}

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  /// There must be room.
  void Push(T value) {
    slots_[(first_ + size_) % slots_.size()] = std::move(value);
    ++size_;
  }

  /// There must be an element.
  T Pop() {
    T value = std::exchange(slots_[first_], T());
    first_ = (first_ + 1) % slots_.size();
    --size_;
    return value;
  }

 private:
  std::vector<T> slots_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace dcp

#endif  // DCP_IO_FIXED_QUEUE_H_
