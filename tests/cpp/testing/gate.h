// Gate: where a thread waits until a test lets it go on.

#ifndef DCP_TESTS_TESTING_GATE_H_
#define DCP_TESTS_TESTING_GATE_H_

#include "base/mutex.h"

namespace dcp::testing {

/// Thread-safe.
class Gate {
 public:
  /// Waits until the gate is open.
  void Pass() {
    const MutexLock lock(mutex_);
    ++waiting_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mutex_);
    --waiting_;
    changed_.NotifyAll();
  }

  /// Lets everybody through from now on.
  void Open() {
    const MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }

  /// Waits until `count` threads are waiting.
  void AwaitWaiting(int count) {
    const MutexLock lock(mutex_);
    while (waiting_ != count) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ = false;
  int waiting_ = 0;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_GATE_H_
