#include "dcp/clock.h"

#include <thread>

namespace dcp {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
  void SleepFor(Duration duration) override {
    std::this_thread::sleep_for(duration);
  }
};

}  // namespace

std::shared_ptr<Clock> MakeSystemClock() {
  return std::make_shared<SystemClock>();
}

}  // namespace dcp
