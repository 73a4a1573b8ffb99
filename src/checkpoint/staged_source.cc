#include "checkpoint/staged_source.h"

#include <algorithm>
#include <utility>

#include "checkpoint/save_planning.h"

namespace dcp {
namespace {

// Items that are not there yet are waited for until this much can be written
// at once: less would keep a fast disk waiting at every end of a batch.
constexpr int64_t kMinBatchNbytes = int64_t{64} << 20;

size_t EntryOf(const WriteItem& item) {
  return static_cast<size_t>(item.source);
}

}  // namespace

StagedSource::~StagedSource() {
  if (has_begun_) staged_.snapshot().EndUse();
}

Status StagedSource::Begin(SavePlan& plan) {
  begun_ = staged_.snapshot().BeginUse([this] { return Ask(); });
  has_failed_ = !begun_.ok();
  DCP_RETURN_IF_ERROR(begun_);
  has_begun_ = true;
  const auto first_staged = std::stable_partition(
      plan.items.begin(), plan.items.end(),
      [this](const auto& item) { return IsStreamed(item); });
  if (first_staged == plan.items.begin()) {
    staged_.snapshot().EndStreaming();
    return absl::OkStatus();
  }
  const MutexLock lock(mutex_);
  to_stream_.resize(staged_.entries().size());
  for (auto item = plan.items.begin(); item != first_staged; ++item) {
    to_stream_[EntryOf(*item)] = true;
    ++to_stream_count_;
  }
  return absl::OkStatus();
}

StatusOr<WritePayload> StagedSource::Resolve(const WriteItem& item) {
  DCP_RETURN_IF_ERROR(begun_);
  const SaveEntry& entry = staged_.entries()[EntryOf(item)];
  const auto* shard = std::get_if<TensorShard>(&entry.value);
  if (shard == nullptr) {
    return WritePayload(std::get<SerializedObject>(entry.value).view());
  }
  StatusOr<TensorView> awaited = staged_.snapshot().AwaitView(
      StagedViewOf(entry), EntryOf(item), [this] { return Ask(); });
  if (!awaited.ok()) has_failed_ = true;
  DCP_ASSIGN_OR_RETURN(const TensorView copy, std::move(awaited));
  if (IsStreamed(item) && copy.device.type != DeviceType::kCpu &&
      !reads_later_) {
    DCP_RETURN_IF_ERROR(AwaitRead(item.nbytes));
  }
  NoteResolved(item);
  if (shard->encoded) {
    return WritePayload(std::string_view(static_cast<const char*>(copy.data),
                                         shard->encoded->size()));
  }
  return WritePayload(Narrow(copy, PartOf(*shard, item)));
}

Status StagedSource::AwaitRead(int64_t nbytes) {
  return staged_.snapshot().AwaitCopyRate(nbytes, [this] { return Ask(); });
}

void StagedSource::NoteResolved(const WriteItem& item) {
  const MutexLock lock(mutex_);
  batch_.nbytes += item.nbytes;
  if (to_stream_count_ == 0 || !to_stream_[EntryOf(item)]) return;
  batch_.has_streamed = true;
  to_stream_[EntryOf(item)] = false;
  --to_stream_count_;
}

bool StagedSource::JoinsBatch(const WriteItem& item) {
  if (!begun_.ok()) return true;
  const bool is_streamed = IsStreamed(item);
  const bool is_there = staged_.snapshot().IsThere(EntryOf(item));
  const MutexLock lock(mutex_);
  // The caller waits for what is streamed, and for nothing else.
  if (batch_.has_streamed) {
    // A rate holds the next one back: what there is should be read meanwhile.
    return is_streamed && (!staged_.snapshot().has_copy_rate() ||
                           batch_.nbytes < kMinBatchNbytes);
  }
  return is_there || batch_.nbytes < kMinBatchNbytes;
}

void StagedSource::Release() {
  bool all_streamed = false;
  {
    const MutexLock lock(mutex_);
    all_streamed = batch_.has_streamed && to_stream_count_ == 0;
    batch_ = {};
  }
  if (all_streamed) staged_.snapshot().EndStreaming();
}

Status StagedSource::Proceed() {
  if (!has_failed_) {
    DCP_RETURN_IF_ERROR(staged_.snapshot().Check());
  }
  return transport_.Check();
}

Status StagedSource::Ask() {
  if (std::this_thread::get_id() != thread_) return absl::OkStatus();
  return transport_.Check();
}

bool StagedSource::IsStreamed(const WriteItem& item) {
  return item.type != WriteItemType::kByteIo &&
         staged_.snapshot().IsStreamed(EntryOf(item));
}

}  // namespace dcp
