#include "testing/fake_device.h"

#include <cstring>
#include <iterator>
#include <set>
#include <utility>

namespace dcp::testing {
namespace {

Status FellOff() {
  return MakeStatus(absl::StatusCode::kUnknown, "the device fell off");
}

bool IsThere(Device device) {
  return device == FakeDevice::kDevice || device == FakeDevice::kSecond;
}

void CopyTurnedOver(void* to, const void* from, size_t nbytes) {
  const auto* source = static_cast<const unsigned char*>(from);
  auto* target = static_cast<unsigned char*>(to);
  for (size_t i = 0; i < nbytes; ++i) {
    target[i] = static_cast<unsigned char>(~source[i]);
  }
}

}  // namespace

/// See DeviceCopier.
class FakeCopier final : public DeviceCopier {
 public:
  FakeCopier(FakeDevice& device, CopyMethod method)
      : device_(device), method_(method), stream_(device.MakeStream()) {}
  ~FakeCopier() override {
    FakeCopier::Drain();
    device_.RemoveStream(stream_);
  }

  Status OrderAfter(uintptr_t stream) override {
    if (stream != FakeDevice::kStream) {
      return InvalidArgument("not the caller's stream");
    }
    device_.streams_.WaitFor(stream_, device_.streams_.Record(stream));
    is_ordered_ = true;
    return absl::OkStatus();
  }

  StatusOr<uint64_t> Enqueue(const CopyBatch& batch) override {
    if (!is_ordered_) return InvalidArgument("a copy in no order");
    ++device_.batches_;
    bool fails = false;
    for (const DeviceCopy& copy : batch.copies) {
      if (device_.on_copy) device_.on_copy();
      fails = !device_.CountCopy() || fails;
      if (copy.offset + copy.nbytes > batch.host.size()) {
        return InvalidArgument("a copy out of its batch's memory");
      }
    }
    DCP_RETURN_IF_ERROR(device_.CheckPlace(batch.host, batch.is_pinned));
    if (fails && device_.failure_ == FakeDevice::Failure::kWhenEnqueued) {
      return FellOff();
    }
    EnqueueCopies(batch, fails);
    const uint64_t event = device_.streams_.Record(stream_);
    if (fails) failed_.insert(event);
    return event;
  }

  StatusOr<bool> IsComplete(uint64_t batch) override {
    if (!device_.streams_.HasPassed(batch)) return false;
    if (failed_.count(batch) > 0) return FellOff();
    return true;
  }

  Status Wait(uint64_t batch) override {
    device_.streams_.Await(batch);
    return failed_.count(batch) > 0 ? FellOff() : absl::OkStatus();
  }

  void Drain() override { device_.streams_.Drain(stream_); }
  uintptr_t stream() const override { return stream_; }

 private:
  void EnqueueCopies(const CopyBatch& batch, bool fails) {
    size_t gap = batch.copies.empty() ? 0 : batch.copies.front().offset;
    for (const DeviceCopy& copy : batch.copies) {
      std::byte* const to = batch.host.data() + copy.offset;
      std::memset(to, '?', copy.nbytes);
      const size_t gap_nbytes =
          method_ == CopyMethod::kPacked ? copy.offset - gap : 0;
      gap = copy.offset + copy.nbytes;
      device_.streams_.Enqueue(stream_, static_cast<int64_t>(copy.nbytes), [=] {
        if (fails) return;
        std::memset(to - gap_nbytes, '!', gap_nbytes);
        CopyTurnedOver(to, copy.device_data, copy.nbytes);
      });
    }
  }

  FakeDevice& device_;
  const CopyMethod method_;
  const uintptr_t stream_;
  bool is_ordered_ = false;
  std::set<uint64_t> failed_;
};

Status FakeDevice::CopyToHost(void* host, const void* device_data,
                              size_t nbytes, Device device, uintptr_t stream) {
  return Copy(host, device_data, nbytes, device, stream);
}

Status FakeDevice::CopyToDevice(void* device_data, const void* host,
                                size_t nbytes, Device device,
                                uintptr_t stream) {
  return Copy(device_data, host, nbytes, device, stream);
}

StatusOr<std::unique_ptr<DeviceCopier>> FakeDevice::MakeCopier(
    Device device, CopyMethod method) {
  if (!IsThere(device)) return InvalidArgument("a copier for another device");
  return std::unique_ptr<DeviceCopier>(
      std::make_unique<FakeCopier>(*this, method));
}

Status FakeDevice::Copy(void* to, const void* from, size_t nbytes,
                        Device device, uintptr_t stream) {
  if (on_copy) on_copy();
  if (!CountCopy()) return FellOff();
  if (!IsThere(device) || !HasStream(stream)) {
    return InvalidArgument("a copy for another device or stream");
  }
  streams_.Drain(stream);
  CopyTurnedOver(to, from, nbytes);
  return absl::OkStatus();
}

uintptr_t FakeDevice::MakeStream() {
  const MutexLock lock(mutex_);
  own_streams_.insert(++last_stream_);
  return last_stream_;
}

void FakeDevice::RemoveStream(uintptr_t stream) {
  const MutexLock lock(mutex_);
  own_streams_.erase(stream);
}

bool FakeDevice::HasStream(uintptr_t stream) const {
  const MutexLock lock(mutex_);
  return stream == kStream || own_streams_.count(stream) > 0;
}

int64_t FakeDevice::copiers() const {
  const MutexLock lock(mutex_);
  return static_cast<int64_t>(own_streams_.size());
}

bool FakeDevice::CountCopy() {
  const int64_t number = ++copies_;
  return fail_from_ == 0 || number < fail_from_;
}

Status FakeDevice::CheckPlace(std::span<const std::byte> host,
                              bool is_pinned) const {
  const MutexLock lock(mutex_);
  const auto next = pinned_.upper_bound(host.data());
  const std::byte* const end = host.data() + host.size();
  bool is_inside = false;
  if (next != pinned_.begin()) {
    const auto& [begin, nbytes] = *std::prev(next);
    is_inside = end <= begin + nbytes;
    if (!is_inside && host.data() < begin + nbytes) {
      return InvalidArgument("a copy that leaves pinned memory");
    }
  }
  if (next != pinned_.end() && end > next->first) {
    return InvalidArgument("a copy that gets into pinned memory");
  }
  if (is_pinned && !is_inside) {
    return InvalidArgument("a copy into memory that is not pinned");
  }
  return absl::OkStatus();
}

Status FakeDevice::Pin(std::span<std::byte> memory, Device device) {
  if (on_pin) DCP_RETURN_IF_ERROR(on_pin());
  if (!IsThere(device)) return InvalidArgument("pinned for another device");
  DCP_RETURN_IF_ERROR(CheckPlace(memory, false));
  if (pinned_nbytes() + static_cast<int64_t>(memory.size()) > max_pinned_) {
    return MakeStatus(absl::StatusCode::kUnknown, "no more may be pinned");
  }
  const MutexLock lock(mutex_);
  if (!pinned_.emplace(memory.data(), memory.size()).second) {
    return InvalidArgument("pinned twice");
  }
  return absl::OkStatus();
}

Status FakeDevice::Unpin(std::span<std::byte> memory, Device device) {
  {
    const MutexLock lock(mutex_);
    const auto found = pinned_.find(memory.data());
    if (!IsThere(device) || found == pinned_.end() ||
        found->second != memory.size()) {
      return InvalidArgument("that was not pinned so");
    }
    pinned_.erase(found);
  }
  return on_unpin ? on_unpin() : absl::OkStatus();
}

int64_t FakeDevice::pinned_nbytes() const {
  const MutexLock lock(mutex_);
  size_t nbytes = 0;
  for (const auto& [begin, size] : pinned_) nbytes += size;
  return static_cast<int64_t>(nbytes);
}

}  // namespace dcp::testing
