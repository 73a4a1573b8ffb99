#include "storage/tensor_sink.h"

#include <algorithm>
#include <utility>

#include "base/cast.h"
#include "base/checksum.h"
#include "storage/device_scatter.h"

namespace dcp {
namespace {

// Runs closer together than this are read in one go (extent.cc skips the rest).
constexpr int64_t kMinGap = int64_t{64} << 10;

bool TakesBytes(const TensorPlace& place, const TensorPart& part) {
  const TensorView& view = part.destination;
  return view.device.type == DeviceType::kCpu &&
         view.dtype == place.image.dtype && place.op == ElementOp::kNone &&
         view.is_contiguous() && IsOneRun(place.image, part.box);
}

int64_t FirstByte(const ChunkImage& image, const Box& box) {
  const Dims strides = ContiguousStrides(image.sizes);
  int64_t element = 0;
  for (int d = 0; d < box.ndim(); ++d) element += box.offsets[d] * strides[d];
  return element * ItemSize(image.dtype);
}

}  // namespace

StatusOr<std::vector<TensorPart>> ResolveParts(const StoredItem& item,
                                               const TensorPlace& place,
                                               ReadTarget& target) {
  std::vector<TensorPart> parts;
  for (const ReadItem* read : item.reads) {
    DCP_ASSIGN_OR_RETURN(TensorView view, target.ResolveTensor(*read));
    if (view.sizes != read->lengths) {
      return InvalidArgument("the destination of " + item.index.fqn +
                             " has the shape " + ToString(view.sizes) +
                             ", planned was " + ToString(read->lengths));
    }
    if (!CanCast(place.image.dtype, view.dtype)) {
      return InvalidArgument("cannot load " + item.index.fqn + ", stored as " +
                             std::string(DTypeName(place.image.dtype)) +
                             ", into " + std::string(DTypeName(view.dtype)));
    }
    Box box{.offsets = read->storage_offsets, .sizes = read->lengths};
    if (!place.order.empty()) {
      box = Permute(box, place.order);
      view = Permute(view, place.order);
    }
    parts.push_back({.box = std::move(box), .destination = std::move(view)});
  }
  return parts;
}

Status DeliverBytes(const TensorPlace& place, const TensorPart& part,
                    int64_t begin, std::span<const std::byte> bytes,
                    DeviceRuntime& device) {
  if (part.destination.device.type != DeviceType::kCpu) {
    return ScatterToDevice(place, part, begin, bytes, device);
  }
  ScatterRange(place.image, part.box, part.destination, begin, bytes, place.op);
  return absl::OkStatus();
}

std::vector<ByteRun> JoinedRuns(const ChunkImage& image,
                                const std::vector<TensorPart>& parts) {
  std::vector<ByteRun> runs;
  for (const TensorPart& part : parts) {
    ForEachRun(image, part.box, [&](ByteRun run) {
      // Joining near runs here keeps the list short for column shards.
      if (!runs.empty()) {
        ByteRun& last = runs.back();
        const int64_t last_end = last.byte_begin + last.nbytes;
        if (run.byte_begin >= last.byte_begin &&
            run.byte_begin <= last_end + kMinGap) {
          last.nbytes =
              std::max(last_end, run.byte_begin + run.nbytes) - last.byte_begin;
          return;
        }
      }
      runs.push_back(run);
    });
  }
  std::sort(runs.begin(), runs.end(), [](const ByteRun& a, const ByteRun& b) {
    return a.byte_begin < b.byte_begin;
  });
  std::vector<ByteRun> apart;
  int64_t done = 0;
  for (const ByteRun& run : runs) {
    const int64_t begin = std::max(done, run.byte_begin);
    const int64_t end = run.byte_begin + run.nbytes;
    if (begin >= end) continue;
    apart.push_back({.byte_begin = begin, .nbytes = end - begin});
    done = end;
  }
  return apart;
}

TensorSink::TensorSink(const StoredItem& item, TensorPlace place,
                       std::vector<TensorPart> parts, CheckCrc check_crc,
                       DeviceRuntime& device)
    : item_(item),
      place_(std::move(place)),
      parts_(std::move(parts)),
      check_crc_(check_crc == CheckCrc::kYes && place_.crc32 != 0),
      device_(device) {
  if (parts_.size() != 1 || !TakesBytes(place_, parts_[0])) return;
  plain_memory_ = static_cast<std::byte*>(parts_[0].destination.data);
  plain_begin_ = FirstByte(place_.image, parts_[0].box);
  plain_end_ = plain_begin_ + parts_[0].destination.nbytes();
}

void TensorSink::CheckInParts(PartialCrcs& parts) {
  if (place_.crc32 != 0) parts_crc_ = &parts;
}

void TensorSink::AppendExtents(std::vector<Extent>* extents) {
  if (check_crc_) {
    extents->push_back({.begin = place_.data_begin,
                        .end = place_.data_begin + place_.data_nbytes,
                        .sink = this});
    return;
  }
  for (const ByteRun& run : JoinedRuns(place_.image, parts_)) {
    const int64_t begin = place_.data_begin + run.byte_begin;
    extents->push_back(
        {.begin = begin, .end = begin + run.nbytes, .sink = this});
  }
}

std::byte* TensorSink::InPlace(int64_t begin, int64_t end) {
  begin -= place_.data_begin;
  end -= place_.data_begin;
  if (plain_memory_ == nullptr || begin < plain_begin_ || end > plain_end_) {
    return nullptr;
  }
  return plain_memory_ + (begin - plain_begin_);
}

Status TensorSink::Write(int64_t begin, std::span<const std::byte> bytes) {
  const int64_t end = begin + static_cast<int64_t>(bytes.size());
  if (check_crc_) DCP_RETURN_IF_ERROR(AddCrc(begin, bytes));
  if (parts_crc_ != nullptr) {
    DCP_RETURN_IF_ERROR(parts_crc_->Add(item_, place_,
                                        begin - place_.data_begin, end - begin,
                                        Crc32(0, bytes)));
  }
  if (bytes.data() == InPlace(begin, end)) return absl::OkStatus();
  for (const TensorPart& part : parts_) {
    DCP_RETURN_IF_ERROR(
        DeliverBytes(place_, part, begin - place_.data_begin, bytes, device_));
  }
  return absl::OkStatus();
}

Status TensorSink::AddCrc(int64_t begin, std::span<const std::byte> bytes) {
  const uint32_t crc = Crc32(0, bytes);
  MutexLock lock(mutex_);
  crcs_.push_back({begin, static_cast<int64_t>(bytes.size()), crc});
  crc_nbytes_ += static_cast<int64_t>(bytes.size());
  if (crc_nbytes_ < place_.data_nbytes) return absl::OkStatus();
  std::sort(crcs_.begin(), crcs_.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  uint32_t total = 0;
  for (const CrcPiece& piece : crcs_) {
    total = Crc32Combine(total, piece.crc, piece.nbytes);
  }
  return total == place_.crc32 ? absl::OkStatus()
                               : DataCrcMismatch(item_, place_);
}

}  // namespace dcp
