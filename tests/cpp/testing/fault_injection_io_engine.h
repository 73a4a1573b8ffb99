// FaultInjectionIoEngine: an engine that fails, waits and shuffles.

#ifndef DCP_TESTS_TESTING_FAULT_INJECTION_IO_ENGINE_H_
#define DCP_TESTS_TESTING_FAULT_INJECTION_IO_ENGINE_H_

#include <memory>
#include <random>
#include <vector>

#include "dcp/io_engine.h"
#include "testing/fault_injection_file_system.h"

namespace dcp::testing {

enum class CompletionOrder : uint8_t { kAsBase, kShuffled };

struct EngineFault {
  int64_t request = 1;  ///< which Submit(), from 1
  int error_number = EIO;
  FaultDuration duration = FaultDuration::kOnce;
  /// kPartial: the first half of the request's bytes is transferred.
  FaultEffect effect = FaultEffect::kNone;
};

struct EngineFaultScript {
  std::vector<EngineFault> faults;
  CompletionOrder order = CompletionOrder::kAsBase;
  /// Poll() finds nothing up to this many times although something is ready.
  int max_idle_polls = 0;
  uint64_t seed = 0;
};

/// One thread at a time, as every engine.
class FaultInjectionIoEngine final : public IoEngine {
 public:
  FaultInjectionIoEngine(std::unique_ptr<IoEngine> base,
                         EngineFaultScript script);

  std::string_view name() const override { return base_->name(); }
  int queue_depth() const override { return base_->queue_depth(); }
  bool RegisterBuffer(IoSlice buffer) override {
    return base_->RegisterBuffer(buffer);
  }
  Status Submit(const IoRequest& request) override;
  StatusOr<IoCompletion> Wait() override;
  StatusOr<std::optional<IoCompletion>> Poll() override;

  int64_t submitted() const { return submitted_; }

 private:
  const EngineFault* FaultOf(int64_t request) const;
  /// Moves what the base has ready to `held_`; all of it if shuffled.
  Status Collect();
  IoCompletion TakeHeld();

  const std::unique_ptr<IoEngine> base_;
  const EngineFaultScript script_;
  std::mt19937_64 random_;
  std::vector<IoCompletion> held_;
  int64_t submitted_ = 0;
  int in_flight_ = 0;  // in the base or held
  int idle_polls_ = 0;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_FAULT_INJECTION_IO_ENGINE_H_
