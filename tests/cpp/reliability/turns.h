// Turns: threads of which one runs at a time, in an order that a seed decides.

#ifndef DCP_TESTS_RELIABILITY_TURNS_H_
#define DCP_TESTS_RELIABILITY_TURNS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

namespace dcp::testing {

/// A job of `count` threads. Each joins, takes its turns, and leaves. The same
/// seed gives the same run.
class Turns {
 public:
  Turns(int count, uint64_t seed);

  /// The thread's first call: returns when all have joined and it has a turn.
  void Join(int thread);
  /// Offers the turn to all.
  void Yield(int thread);
  /// Returns when it has a turn and `ready()` holds; false if that cannot
  /// come to pass any more because all others wait, too, or have left: the
  /// deadline of whoever waits.
  bool WaitUntil(int thread, std::function<bool()> ready);
  void Leave(int thread);

  /// For decisions of the thread that has the turn.
  std::mt19937_64& random() { return random_; }

 private:
  enum class State : uint8_t { kAbsent, kRunnable, kWaiting, kTimedOut, kGone };
  struct Thread {
    State state = State::kAbsent;
    std::function<bool()> ready;
    std::condition_variable turn;
  };

  void PassOn();
  void AwaitTurn(int thread, std::unique_lock<std::mutex>& lock);
  Thread& At(int thread) { return *threads_[static_cast<size_t>(thread)]; }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int absent_;
  int current_ = -1;
  std::mt19937_64 random_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_TURNS_H_
