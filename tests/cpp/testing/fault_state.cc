#include "testing/fault_state.h"

#include <array>
#include <stdexcept>
#include <utility>

namespace dcp::testing {
namespace {

const char* OpName(FsOp op) {
  constexpr std::array kNames = {
      "open",      "mkdir",     "list",  "stat",    "rename", "unlink",
      "fsync",     "statvfs",   "pread", "preadv2", "pwrite", "fstat",
      "ftruncate", "fallocate", "fsync", "close",   "fcntl",  "renameat2",
      "link",      "rmdir",     "mkdir"};
  return kNames.at(static_cast<size_t>(op));
}

}  // namespace

void FaultState::Restart(FaultScript script) {
  const MutexLock lock(mutex_);
  script_ = std::move(script);
  random_.seed(script_.seed);
  log_.clear();
  calls_by_op_.clear();
}

int64_t FaultState::calls() const {
  const MutexLock lock(mutex_);
  return static_cast<int64_t>(log_.size());
}

std::vector<FsCall> FaultState::log() const {
  const MutexLock lock(mutex_);
  return log_;
}

bool FaultState::power_is_cut() const {
  const MutexLock lock(mutex_);
  return script_.power_cut_after &&
         static_cast<int64_t>(log_.size()) >= *script_.power_cut_after;
}

std::shared_ptr<FileSystem> FaultState::AfterReboot(RebootPolicy policy,
                                                    uint64_t seed) const {
  if (disk_ == nullptr) {
    throw std::logic_error("AfterReboot() needs a memory file system");
  }
  const MutexLock lock(disk_mutex_);
  return disk_->AfterReboot(policy, seed);
}

Verdict FaultState::VerdictOn(FsOp op, const std::string& path) {
  const auto failure = [&](int error_number, std::string_view reason) {
    return Annotate(
        ErrnoToStatus(error_number, {.op = OpName(op), .path = path}), reason);
  };
  const auto n = static_cast<int64_t>(log_.size());
  if (script_.power_cut_after && n > *script_.power_cut_after) {
    return {.status = failure(EIO, "the power is cut"),
            .effect = FaultEffect::kNone,
            .power_is_cut = true};
  }
  for (const Fault& fault : script_.faults) {
    const int64_t count = fault.op ? calls_by_op_[op] : n;
    const bool hits = fault.duration == FaultDuration::kOnce
                          ? count == fault.call
                          : count >= fault.call;
    if (hits && fault.op.value_or(op) == op) {
      return {.status = failure(fault.error_number, "injected"),
              .effect = fault.effect};
    }
  }
  return {};
}

Verdict FaultState::OnCall(FsOp op, const std::string& path) {
  Verdict verdict;
  int64_t n = 0;
  decltype(FaultScript::on_call) hook;
  {
    const MutexLock lock(mutex_);
    log_.push_back({.op = op, .path = path});
    ++calls_by_op_[op];
    n = static_cast<int64_t>(log_.size());
    hook = script_.on_call;
    verdict = VerdictOn(op, path);
  }
  if (hook) hook(n, op, path);
  return verdict;
}

int64_t FaultState::CachedLimit(int64_t limit) {
  const MutexLock lock(mutex_);
  if (script_.cached_reads == CachedReads::kAsBase) return limit;
  return std::uniform_int_distribution<int64_t>(0, limit)(random_);
}

}  // namespace dcp::testing
