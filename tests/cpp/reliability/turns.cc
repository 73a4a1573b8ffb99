#include "reliability/turns.h"

#include <utility>

namespace dcp::testing {

Turns::Turns(int count, uint64_t seed) : absent_(count), random_(seed) {
  for (int i = 0; i < count; ++i) {
    threads_.push_back(std::make_unique<Thread>());
  }
}

void Turns::Join(int thread) {
  std::unique_lock lock(mutex_);
  At(thread).state = State::kRunnable;
  if (--absent_ == 0) PassOn();
  AwaitTurn(thread, lock);
}

void Turns::Yield(int thread) {
  std::unique_lock lock(mutex_);
  PassOn();
  AwaitTurn(thread, lock);
}

bool Turns::WaitUntil(int thread, std::function<bool()> ready) {
  std::unique_lock lock(mutex_);
  Thread& self = At(thread);
  self.state = State::kWaiting;
  self.ready = std::move(ready);
  PassOn();
  AwaitTurn(thread, lock);
  const bool in_time = self.state != State::kTimedOut;
  self.state = State::kRunnable;
  return in_time;
}

void Turns::Leave(int thread) {
  const std::lock_guard lock(mutex_);
  At(thread).state = State::kGone;
  PassOn();
}

void Turns::PassOn() {
  std::vector<int> able;
  std::vector<int> waiting;
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    const Thread& thread = At(i);
    if (thread.state == State::kRunnable ||
        (thread.state == State::kWaiting && thread.ready())) {
      able.push_back(i);
    } else if (thread.state == State::kWaiting) {
      waiting.push_back(i);
    }
  }
  current_ = -1;
  if (able.empty() && waiting.empty()) return;
  const std::vector<int>& choice = able.empty() ? waiting : able;
  current_ = choice[random_() % choice.size()];
  if (able.empty()) At(current_).state = State::kTimedOut;
  At(current_).turn.notify_one();
}

void Turns::AwaitTurn(int thread, std::unique_lock<std::mutex>& lock) {
  At(thread).turn.wait(lock, [&] { return current_ == thread; });
}

}  // namespace dcp::testing
