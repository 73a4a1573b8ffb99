#include "checkpoint/staged_state.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "base/guarded.h"
#include "base/host_memory.h"
#include "io/fork_guard.h"

namespace dcp {
namespace {

constexpr int kMaxThreads = 4;

int ThreadsFor(const StagingOptions& options) {
  if (options.threads > 0) return options.threads;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores, 1, kMaxThreads);
}

/// Without a limit of the caller's: what the arena has already, and the
/// process's share of what is free, an eighth of which stays for others.
int64_t LimitOf(const StagingOptions& options, const HostArena& arena) {
  if (options.max_nbytes) return std::max(int64_t{0}, *options.max_nbytes);
  const std::optional<int64_t> available = AvailableHostMemory();
  if (!available) return std::numeric_limits<int64_t>::max();
  const double share = std::clamp(options.memory_share, 0.0, 1.0);
  const auto most = static_cast<double>(*available) * 7 / 8;
  return arena.nbytes() + static_cast<int64_t>(share * most);
}

std::shared_ptr<SaverProcess> ProcessOf(const StagingOptions& options) {
  return std::static_pointer_cast<SaverProcess>(options.saver);
}

HostArena& ArenaOf(const StagingOptions& options) {
  const auto saver = ProcessOf(options);
  return saver ? *saver->arena() : ProcessArena();
}

SnapshotOptions OptionsFor(const StagingOptions& options,
                           const HostArena& arena) {
  return {
      .max_nbytes = LimitOf(options, arena),
      .threads = ThreadsFor(options),
      .trace = options.trace,
      .copy_rate = WriteRate::Make(options.max_copy_rate, MakeSystemClock()),
      .copy_method = options.copy_method,
      .pins_memory = options.pins_memory,
      .copies_first = options.copies_first};
}

std::vector<TensorView> ViewsOf(std::span<const SaveEntry> entries) {
  std::vector<TensorView> views;
  views.reserve(entries.size());
  for (const SaveEntry& entry : entries) views.push_back(StagedViewOf(entry));
  return views;
}

std::shared_ptr<DeviceRuntime> RuntimeFor(std::span<const TensorView> views) {
  const bool any =
      std::any_of(views.begin(), views.end(), [](const TensorView& view) {
        return view.device.type != DeviceType::kCpu;
      });
  return any ? MakeCudaRuntime() : nullptr;
}

int64_t BytesInMemory(std::span<const TensorView> views) {
  int64_t nbytes = 0;
  for (const TensorView& view : views) {
    nbytes += NbytesInMemory(view).value_or(0);
  }
  return nbytes;
}

}  // namespace

TensorView StagedViewOf(const SaveEntry& entry) {
  const auto* shard = std::get_if<TensorShard>(&entry.value);
  if (shard == nullptr) return {.sizes = {0}, .strides = {1}};
  if (!shard->encoded) return shard->view;
  return ContiguousView(const_cast<char*>(shard->encoded->data()),
                        DType::kUInt8,
                        {static_cast<int64_t>(shard->encoded->size())});
}

StatusOr<std::shared_ptr<StagedState>> StagedState::Begin(
    std::vector<SaveEntry> entries, std::shared_ptr<void> keep_alive,
    const StagingOptions& options, std::shared_ptr<DeviceRuntime> device) {
  return Guarded([&] {
    return StagedEntries::Begin(
        std::move(entries), std::move(keep_alive), options,
        {.arena = ArenaOf(options), .device = std::move(device)});
  });
}

StatusOr<std::shared_ptr<StagedState>> StagedEntries::Begin(
    std::vector<SaveEntry> entries, std::shared_ptr<void> keep_alive,
    const StagingOptions& options, SnapshotParts parts) {
  return Guarded([&]() -> StatusOr<std::shared_ptr<StagedState>> {
    auto state = std::make_shared<StagedEntries>(
        std::move(entries), std::move(keep_alive), options, std::move(parts));
    state->Start();
    return std::shared_ptr<StagedState>(std::move(state));
  });
}

StagedEntries::StagedEntries(std::vector<SaveEntry> entries,
                             std::shared_ptr<void> keep_alive,
                             const StagingOptions& options, SnapshotParts parts)
    : owner_(::getpid()),
      saver_(ProcessOf(options)),
      entries_(std::move(entries)) {
  std::vector<TensorView> views = ViewsOf(entries_);
  if (parts.device == nullptr) parts.device = RuntimeFor(views);
  nbytes_ = BytesInMemory(views);
  const SnapshotOptions snapshot_options = OptionsFor(options, parts.arena);
  snapshot_ =
      std::make_shared<Snapshot>(std::move(views), std::move(keep_alive),
                                 snapshot_options, std::move(parts));
}

void StagedEntries::Start() {
  try {
    thread_ = std::thread([snapshot = snapshot_] { snapshot->Run(); });
  } catch (const std::system_error&) {  // EAGAIN: a limit on threads
    snapshot_->StreamAll();
  } catch (const std::bad_alloc&) {
    snapshot_->StreamAll();
  }
}

StagedEntries::~StagedEntries() {
  if (in_child()) {
    ForgetThread(thread_);
    return;
  }
  snapshot_->Cancel();
  if (thread_.joinable()) thread_.join();
}

bool StagedEntries::in_child() const { return ::getpid() != owner_; }

Status StagedEntries::CheckProcess() const {
  if (!in_child()) return absl::OkStatus();
  return FailedPrecondition("this state was staged by process " +
                            std::to_string(owner_) +
                            " before it forked, and is not in the child");
}

Status StagedEntries::WaitStaged(std::optional<Clock::Duration> timeout) {
  DCP_RETURN_IF_ERROR(CheckProcess());
  return snapshot_->AwaitCallerFree(timeout);
}

bool StagedEntries::is_staged() const {
  return !in_child() && snapshot_->is_caller_free();
}

Status StagedEntries::WaitHandedOver(std::optional<Clock::Duration> timeout) {
  DCP_RETURN_IF_ERROR(CheckProcess());
  const auto deadline =
      std::chrono::steady_clock::now() + timeout.value_or(Clock::Duration(0));
  const MutexLock lock(mutex_);
  while (saver_ && !handover_) {
    if (!timeout) {
      changed_.Wait(mutex_);
    } else if (std::chrono::steady_clock::now() < deadline) {
      changed_.WaitUntil(mutex_, deadline);
    } else {
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        "the saver does not have the state yet");
    }
  }
  return handover_ ? *handover_ : FailedPrecondition("there is no saver");
}

void StagedEntries::SetHandover(const Status& handover) {
  const MutexLock lock(mutex_);
  if (!handover_) handover_ = handover;
  changed_.NotifyAll();
}

int64_t StagedEntries::nbytes_streamed() const {
  if (in_child()) return 0;
  return snapshot_->streams_all() ? nbytes_ : snapshot_->nbytes_streamed();
}

Status StagedEntries::pin_status() const {
  return in_child() ? absl::OkStatus() : snapshot_->pin_status();
}

int64_t StagedEntries::nbytes_staged() const {
  if (in_child()) return 0;
  const int64_t to_stage = nbytes_ - nbytes_streamed();
  // Copies have gaps between them, and views that share memory share a copy.
  return snapshot_->is_copied()
             ? to_stage
             : std::min(to_stage, snapshot_->nbytes_copied());
}

void StagedEntries::Cancel() {
  if (!in_child()) snapshot_->Cancel();
}

Status PrewarmStaging(int64_t nbytes, const StagingOptions& options,
                      Device device) {
  std::optional<PinFor> pin_for;
  if (device.type != DeviceType::kCpu && options.pins_memory) {
    pin_for = PinFor{.runtime = MakeCudaRuntime(), .device = device};
  }
  // Copies have gaps between them.
  const int64_t with_gaps = nbytes > std::numeric_limits<int64_t>::max() / 2
                                ? nbytes
                                : nbytes + nbytes / 64 + (int64_t{1} << 20);
  return Guarded([&] {
    HostArena& arena = ArenaOf(options);
    return arena.Prewarm(
        {.nbytes = with_gaps, .max_nbytes = LimitOf(options, arena)},
        ThreadsFor(options), pin_for);
  });
}

void ReleaseStagingMemory() {
  if (HostArena* const arena = FindProcessArena()) arena->ReleaseFree();
}

int64_t StagingMemoryNbytes() {
  const HostArena* const arena = FindProcessArena();
  return arena == nullptr ? 0 : arena->nbytes();
}

}  // namespace dcp
