// EventQueue: a virtual clock, and what happens at which of its times.

#ifndef DCP_SIMULATE_EVENT_QUEUE_H_
#define DCP_SIMULATE_EVENT_QUEUE_H_

#include <cstdint>
#include <queue>
#include <vector>

namespace dcp {

/// Gives events back by their times; those of one time as they were added. One
/// thread.
template <typename Event>
class EventQueue {
 public:
  struct Timed {
    double seconds = 0;
    Event event;
  };

  bool is_empty() const { return queue_.empty(); }

  void Add(double seconds, const Event& event) {
    queue_.push({{seconds, event}, count_++});
  }
  /// The first one, which it forgets. There must be one.
  Timed Next() {
    const Timed next = queue_.top().timed;
    queue_.pop();
    return next;
  }

 private:
  struct Entry {
    Timed timed;
    uint64_t number = 0;

    bool operator<(const Entry& other) const {  // of two, who comes later
      if (timed.seconds != other.timed.seconds) {
        return timed.seconds > other.timed.seconds;
      }
      return number > other.number;
    }
  };

  std::priority_queue<Entry> queue_;
  uint64_t count_ = 0;
};

}  // namespace dcp

#endif  // DCP_SIMULATE_EVENT_QUEUE_H_
