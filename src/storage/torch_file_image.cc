#include "storage/torch_file_image.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/strided_copy.h"
#include "format/torch_archive.h"

namespace dcp {
namespace {

// Copied and checksummed at a time: fits the L2 cache of every server core.
constexpr int64_t kGranule = int64_t{256} << 10;

/// A part of what begins at file offset `begin`.
void CopyPart(std::string_view bytes, int64_t begin, int64_t part_begin,
              std::span<std::byte> out) {
  if (out.empty()) return;
  std::memcpy(out.data(), bytes.data() + (part_begin - begin), out.size());
}

ZipWindow WindowOf(std::string& bytes, int64_t start) {
  return {.bytes = std::as_writable_bytes(std::span(bytes)), .start = start};
}

}  // namespace

TorchFileImage::Part TorchFileImage::Part::Within(int64_t from,
                                                  int64_t to) const {
  const int64_t first = std::clamp(from, begin, end());
  const int64_t last = std::clamp(to, first, end());
  return {.begin = first,
          .out = out.subspan(static_cast<size_t>(first - begin),
                             static_cast<size_t>(last - first))};
}

TorchFileImage::TorchFileImage(std::string pickle,
                               std::vector<RecordData> records)
    : pickle_(std::move(pickle)),
      data_(std::move(records)),
      records_(kArchiveHeadCount + data_.size() + kArchiveTailCount),
      crcs_(data_.size()) {
  const std::span all(records_);
  FillHead(pickle_, all);
  for (size_t i = 0; i < data_.size(); ++i) {
    names_.push_back("archive/data/" + std::to_string(i));
    records_[kArchiveHeadCount + i] = {.name = names_.back(),
                                       .nbytes = data_[i].nbytes};
    crcs_[i].nbytes_missing = data_[i].nbytes;
  }
  dcp::FillTail(all.last(kArchiveTailCount));
  layout_ = LayoutZip(all, 0);
  head_.resize(static_cast<size_t>(records_[kArchiveHeadCount].header_offset));
  PutHead(all.first(kArchiveHeadCount), pickle_, WindowOf(head_, 0));
}

const ZipRecord& TorchFileImage::RecordAt(size_t record) const {
  return records_[kArchiveHeadCount + record];
}

Status TorchFileImage::Fill(const WriteBlock& block, FillMode,
                            std::span<std::byte> buffer,
                            std::vector<IoSlice>* slices) {
  const auto nbytes = static_cast<size_t>(block.nbytes);
  const Part part{.begin = block.byte_offset, .out = buffer.first(nbytes)};
  slices->push_back({buffer.data(), nbytes});
  const auto head_end = static_cast<int64_t>(head_.size());
  const Part head = part.Within(0, head_end);
  CopyPart(head_, 0, head.begin, head.out);
  const auto data =
      std::span(records_).subspan(kArchiveHeadCount, data_.size());
  auto record = std::upper_bound(data.begin(), data.end(), part.begin,
                                 [](int64_t offset, const ZipRecord& r) {
                                   return offset < r.header_offset;
                                 });
  if (record != data.begin()) --record;
  for (; record != data.end() && record->header_offset < part.end(); ++record) {
    DCP_RETURN_IF_ERROR(
        FillRecord(static_cast<size_t>(record - data.begin()), part));
  }
  return FillTail(
      part.Within(RecordAt(data_.size()).header_offset, layout_.nbytes));
}

/// What `part` has of the record's header, data and descriptor.
Status TorchFileImage::FillRecord(size_t number, const Part& part) {
  ZipRecord record = RecordAt(number);
  const int64_t data_end = record.data_offset + record.nbytes;
  const Part header = part.Within(record.header_offset, record.data_offset);
  if (!header.out.empty()) {
    std::string bytes(
        static_cast<size_t>(record.data_offset - record.header_offset), '\0');
    PutZipHeader(record, WindowOf(bytes, record.header_offset));
    CopyPart(bytes, record.header_offset, header.begin, header.out);
  }
  const Part data = part.Within(record.data_offset, data_end);
  if (!data.out.empty()) {
    DCP_RETURN_IF_ERROR(
        FillData(number, data.begin - record.data_offset, data.out));
  }
  const int64_t end = RecordAt(number + 1).header_offset;
  const Part descriptor = part.Within(data_end, end);
  if (descriptor.out.empty()) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(record.crc32, AwaitCrc(number));
  std::string bytes(static_cast<size_t>(end - data_end), '\0');
  PutZipDescriptor(record, WindowOf(bytes, data_end));
  CopyPart(bytes, data_end, descriptor.begin, descriptor.out);
  return absl::OkStatus();
}

Status TorchFileImage::FillData(size_t number, int64_t begin,
                                std::span<std::byte> out) {
  const RecordData& data = data_[number];
  uint32_t crc = 0;
  for (size_t done = 0; done < out.size();) {
    const auto bytes = out.subspan(
        done, std::min(out.size() - done, static_cast<size_t>(kGranule)));
    const int64_t at = begin + static_cast<int64_t>(done);
    if (const auto* streamed = std::get_if<StreamedRecord>(&data.content)) {
      DCP_RETURN_IF_ERROR(streamed->stream->Read(*streamed->item, at, bytes));
    } else if (const auto* tensor = std::get_if<ViewRecord>(&data.content)) {
      GatherRange(tensor->view, tensor->dtype, at, bytes);
    } else {
      CopyPart(std::get<std::string_view>(data.content), 0, at, bytes);
    }
    crc = Crc32(crc, bytes);
    done += bytes.size();
  }
  AddCrc(number, begin, static_cast<int64_t>(out.size()), crc);
  return absl::OkStatus();
}

/// The last records and the directory, which has the CRC-32s of all.
Status TorchFileImage::FillTail(const Part& part) {
  if (part.out.empty()) return absl::OkStatus();
  std::vector<ZipRecord> records = records_;
  uint32_t all = 0;
  for (size_t i = 0; i < data_.size(); ++i) {
    DCP_ASSIGN_OR_RETURN(const uint32_t crc, AwaitCrc(i));
    records[kArchiveHeadCount + i].crc32 = crc;
    all = Crc32Combine(all, crc, data_[i].nbytes);
  }
  const std::span tail = std::span(records).last(kArchiveTailCount);
  const int64_t begin = tail[0].header_offset;
  std::string bytes(static_cast<size_t>(layout_.nbytes - begin), '\0');
  const ZipWindow window = WindowOf(bytes, begin);
  PutTail(SerializationId(records[0].crc32, all), tail, window);
  PutZipDirectory(records, layout_, window);
  CopyPart(bytes, begin, part.begin, part.out);
  return absl::OkStatus();
}

void TorchFileImage::AddCrc(size_t record, int64_t begin, int64_t nbytes,
                            uint32_t crc) {
  const MutexLock lock(mutex_);
  crcs_[record].pieces.push_back({begin, nbytes, crc});
  crcs_[record].nbytes_missing -= nbytes;
  if (crcs_[record].nbytes_missing == 0) changed_.NotifyAll();
}

StatusOr<uint32_t> TorchFileImage::AwaitCrc(size_t record) {
  const MutexLock lock(mutex_);
  Crc& crc = crcs_[record];
  while (!cancelled_ && crc.nbytes_missing > 0) changed_.Wait(mutex_);
  if (crc.nbytes_missing > 0) {
    return MakeStatus(absl::StatusCode::kCancelled,
                      "the save failed in another thread");
  }
  std::sort(crc.pieces.begin(), crc.pieces.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  uint32_t total = 0;
  for (const Crc::Piece& piece : crc.pieces) {
    total = Crc32Combine(total, piece.crc, piece.nbytes);
  }
  return total;
}

void TorchFileImage::Cancel() {
  for (const RecordData& data : data_) {
    if (const auto* streamed = std::get_if<StreamedRecord>(&data.content)) {
      streamed->stream->Cancel();
      break;  // all of a save's items have one stream
    }
  }
  const MutexLock lock(mutex_);
  cancelled_ = true;
  changed_.NotifyAll();
}

}  // namespace dcp
