#include "io/fake_ring.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "io/direct_io.h"
#include "io/slices.h"

namespace dcp::testing {
namespace {

std::vector<IoSlice> SlicesOf(std::span<const iovec> iov) {
  std::vector<IoSlice> slices;
  slices.reserve(iov.size());
  for (const iovec& part : iov) {
    slices.push_back({static_cast<std::byte*>(part.iov_base), part.iov_len});
  }
  return slices;
}

int64_t TotalOf(std::span<const iovec> iov) {
  int64_t total = 0;
  for (const iovec& part : iov) total += static_cast<int64_t>(part.iov_len);
  return total;
}

}  // namespace

Status FakeFile::ReadFully(int64_t byte_offset,
                           std::span<const IoSlice> slices) {
  ++own_calls;
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  const auto end = static_cast<int64_t>(bytes.size());
  if (byte_offset + total > end) return EndOfFileError(path_, end, total);
  CopyToSlices(reinterpret_cast<const std::byte*>(bytes.data()) + byte_offset,
               total, slices);
  return absl::OkStatus();
}

Status FakeFile::WriteFully(int64_t byte_offset,
                            std::span<const IoSlice> slices) {
  ++own_calls;
  DCP_ASSIGN_OR_RETURN(const int64_t total,
                       CheckedTotal(path_, byte_offset, slices));
  const auto end = static_cast<size_t>(byte_offset + total);
  if (bytes.size() < end) bytes.resize(end);
  CopyFromSlices(slices, total,
                 reinterpret_cast<std::byte*>(bytes.data()) + byte_offset);
  return absl::OkStatus();
}

bool FakeRing::RegisterBuffer(int index, const iovec& buffer) {
  if (static_cast<size_t>(index) != registered_.size() ||
      registered_.size() == entries_) {
    complaint_ = "a buffer without a place";
  }
  registered_.push_back(buffer);
  return true;
}

void FakeRing::CheckEntry(const RingEntry& entry) {
  if (started_.size() == entries_) complaint_ = "more entries than room";
  if (entry.iov.empty()) complaint_ = "an entry without memory";
  const auto file = files_.find(entry.fd & ~1);
  if (file == files_.end()) {
    complaint_ = "an unknown descriptor";
    return;
  }
  if (entry.fd == file->second->direct_fd() &&
      !FitsDirectIo(*file->second->direct_io(), entry.byte_offset,
                    SlicesOf(entry.iov))) {
    complaint_ = "an unaligned direct entry";
  }
  if (entry.buffer_index >= 0) {
    const iovec& buffer =
        registered_.at(static_cast<size_t>(entry.buffer_index));
    const iovec& slice = entry.iov.front();
    const auto* begin = static_cast<const std::byte*>(buffer.iov_base);
    const auto* at = static_cast<const std::byte*>(slice.iov_base);
    if (entry.iov.size() != 1 || at < begin ||
        at + slice.iov_len > begin + buffer.iov_len) {
      complaint_ = "an entry outside its registered buffer";
    }
  }
}

int FakeRing::Start(const RingEntry& entry) {
  CheckEntry(entry);
  if (Happens(options_.refuse_start)) return Happens(0.5) ? EBUSY : EAGAIN;
  started_.push_back(entry);
  return 0;
}

int64_t FakeRing::Move(const RingEntry& entry, FakeFile& file, int64_t nbytes) {
  const std::vector<IoSlice> slices = SubSlices(SlicesOf(entry.iov), 0, nbytes);
  const int own_calls = file.own_calls;
  const Status status = entry.op == IoOp::kRead
                            ? file.ReadFully(entry.byte_offset, slices)
                            : file.WriteFully(entry.byte_offset, slices);
  file.own_calls = own_calls;  // the engine's only
  return status.ok() ? nbytes : -EIO;
}

int64_t FakeRing::ResultOf(const RingEntry& entry) {
  if (options_.result) {
    if (const auto result = options_.result(entry)) return *result;
  }
  FakeFile& file = *files_.at(entry.fd & ~1);
  if (Happens(options_.transient)) {
    constexpr std::array kErrors = {EAGAIN, EINTR, EBUSY};
    return -kErrors.at(random_() % kErrors.size());
  }
  const bool direct = entry.fd == file.direct_fd();
  if (direct && Happens(options_.refuse_direct)) return -EINVAL;
  int64_t nbytes = TotalOf(entry.iov);
  if (entry.op == IoOp::kRead) {
    const auto left =
        static_cast<int64_t>(file.bytes.size()) - entry.byte_offset;
    nbytes = std::clamp<int64_t>(left, 0, nbytes);
  }
  if (nbytes > 0 && Happens(options_.short_transfer)) {
    nbytes = std::uniform_int_distribution<int64_t>(1, nbytes)(random_);
  }
  return Move(entry, file, nbytes);
}

StatusOr<std::optional<RingEvent>> FakeRing::Next(RingWait wait) {
  const bool waits = wait == RingWait::kForOne;
  if (started_.empty()) {
    if (waits) complaint_ = "waiting for nothing";
    return std::nullopt;
  }
  if (!waits && Happens(options_.nothing_ready)) return std::nullopt;
  const size_t index = random_() % started_.size();
  const RingEntry entry = started_[index];
  started_.erase(started_.begin() + static_cast<std::ptrdiff_t>(index));
  const int64_t result = ResultOf(entry);
  return RingEvent{.user_data = entry.user_data, .result = result};
}

}  // namespace dcp::testing
