#include "testing/fault_injection_io_engine.h"

#include <utility>

#include "io/io_request.h"
#include "io/slices.h"

namespace dcp::testing {
namespace {

/// Transfers what a failing request transfers all the same.
Status Transfer(const IoRequest& request, FaultEffect effect) {
  if (effect == FaultEffect::kNone) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(int64_t nbytes, CheckRequest(request));
  if (effect == FaultEffect::kPartial) nbytes /= 2;
  const std::vector<IoSlice> slices = SubSlices(request.slices, 0, nbytes);
  IoRequest part = request;
  part.slices = slices;
  return ExecuteRequest(part);
}

}  // namespace

FaultInjectionIoEngine::FaultInjectionIoEngine(std::unique_ptr<IoEngine> base,
                                               EngineFaultScript script)
    : base_(std::move(base)),
      script_(std::move(script)),
      random_(script_.seed),
      idle_polls_(script_.max_idle_polls) {}

const EngineFault* FaultInjectionIoEngine::FaultOf(int64_t request) const {
  for (const EngineFault& fault : script_.faults) {
    const bool hits = fault.duration == FaultDuration::kOnce
                          ? request == fault.request
                          : request >= fault.request;
    if (hits) return &fault;
  }
  return nullptr;
}

Status FaultInjectionIoEngine::Submit(const IoRequest& request) {
  DCP_RETURN_IF_ERROR(CheckRequest(request).status());
  if (in_flight_ == queue_depth()) return QueueFullError(queue_depth());
  const EngineFault* fault = FaultOf(submitted_ + 1);
  if (fault == nullptr) {
    DCP_RETURN_IF_ERROR(base_->Submit(request));
  } else {
    Status status = Transfer(request, fault->effect);
    if (status.ok()) {
      status = Annotate(
          ErrnoToStatus(fault->error_number,
                        {.op = request.op == IoOp::kRead ? "pread" : "pwrite",
                         .path = request.file->path(),
                         .byte_offset = request.byte_offset}),
          "injected");
    }
    held_.push_back({.tag = request.tag, .status = std::move(status)});
  }
  ++submitted_;
  ++in_flight_;
  return absl::OkStatus();
}

Status FaultInjectionIoEngine::Collect() {
  for (;;) {
    DCP_ASSIGN_OR_RETURN(std::optional<IoCompletion> completion, base_->Poll());
    if (!completion) return absl::OkStatus();
    held_.push_back(*std::move(completion));
  }
}

IoCompletion FaultInjectionIoEngine::TakeHeld() {
  size_t index = 0;
  if (script_.order == CompletionOrder::kShuffled) {
    index = random_() % held_.size();
  }
  IoCompletion completion = std::move(held_[index]);
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
  --in_flight_;
  return completion;
}

StatusOr<IoCompletion> FaultInjectionIoEngine::Wait() {
  if (in_flight_ == 0) return NothingInFlightError();
  // Shuffled, the first to be ready is not always the first to be returned.
  const auto in_base = in_flight_ - static_cast<int>(held_.size());
  const bool waits = script_.order == CompletionOrder::kShuffled &&
                     in_base > 0 && random_() % 2 == 0;
  if (held_.empty() || waits) {
    DCP_ASSIGN_OR_RETURN(IoCompletion completion, base_->Wait());
    held_.push_back(std::move(completion));
  }
  DCP_RETURN_IF_ERROR(Collect());
  return TakeHeld();
}

StatusOr<std::optional<IoCompletion>> FaultInjectionIoEngine::Poll() {
  if (idle_polls_ > 0) {
    --idle_polls_;
    return std::nullopt;
  }
  DCP_RETURN_IF_ERROR(Collect());
  if (held_.empty()) return std::nullopt;
  const auto limit = static_cast<uint64_t>(script_.max_idle_polls) + 1;
  idle_polls_ = static_cast<int>(random_() % limit);
  return TakeHeld();
}

}  // namespace dcp::testing
