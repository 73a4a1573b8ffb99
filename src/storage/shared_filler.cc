// How a cell comes about:
// 1. The head of the file is copied.
// 2. If the rest is one part, all of it, of this rank: it is gathered straight
//    into the block, or referred to.
// 3. Else the parts of this rank are put where they belong, from their memory
//    or through a scratch buffer, and then those of each other rank, by rank,
//    which come in one message. Messages of a rank are received in order, by
//    whichever thread fills the cell.

#include "storage/shared_filler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "base/round_up.h"
#include "storage/gather_view.h"

namespace dcp {

SharedFiller::SharedFiller(const SharedPart& part,
                           const ItemPositions& positions,
                           std::span<const SharedSource> sources,
                           const Options& options)
    : part_(part),
      positions_(positions),
      rank_(options.rank),
      sources_(sources),
      device_(options.device),
      checksums_(options.checksums),
      source_(options.source),
      messages_(MessagesOf(part, options.rank)) {}

std::vector<PeerTraffic> TrafficOf(
    const SharedPart& part, const std::map<int, CellMessages>& messages) {
  std::vector<PeerTraffic> traffic;
  for (const auto& [peer, cells] : messages) {
    PeerTraffic with{.rank = peer,
                     .address = part.addresses[static_cast<size_t>(peer)],
                     .incoming = cells.incoming};
    for (const std::vector<CellPart>& parts : cells.outgoing) {
      int64_t nbytes = 0;
      for (const CellPart& cell_part : parts) nbytes += cell_part.nbytes();
      with.outgoing.push_back(nbytes);
    }
    traffic.push_back(std::move(with));
  }
  return traffic;
}

std::span<const std::byte> SharedFiller::MemoryOf(const CellPart& part) const {
  const auto& [view, stream, item] = SourceOf(part);
  const DType dtype = part.tensor->dtype;
  if (stream != nullptr || !IsStoredAsInMemory(view, dtype)) return {};
  return {
      static_cast<const std::byte*>(view.data) + part.begin * ItemSize(dtype),
      static_cast<size_t>(part.nbytes())};
}

Status SharedFiller::Gather(const CellPart& part, int64_t byte_begin,
                            std::span<std::byte> out) {
  const auto& [view, stream, item] = SourceOf(part);
  const DType dtype = part.tensor->dtype;
  byte_begin += part.begin * ItemSize(dtype);
  if (stream != nullptr) return stream->Read(*item, byte_begin, out);
  if (view.device.type != DeviceType::kCpu) {
    DCP_RETURN_IF_ERROR(source_.AwaitRead(std::ssize(out)));
  }
  // A cast works on whole elements, and messages are sent in any pieces.
  const int64_t itemsize = ItemSize(dtype);
  const int64_t lead = view.dtype == dtype ? 0 : byte_begin % itemsize;
  const int64_t nbytes = std::ssize(out);
  if (view.dtype == dtype || (lead == 0 && nbytes % itemsize == 0)) {
    return GatherView(view, dtype, byte_begin, device_, out);
  }
  std::vector<std::byte> whole(
      static_cast<size_t>(RoundUpTo(lead + nbytes, itemsize)));
  DCP_RETURN_IF_ERROR(
      GatherView(view, dtype, byte_begin - lead, device_, whole));
  std::memcpy(out.data(), whole.data() + lead, out.size());
  return absl::OkStatus();
}

Status SharedFiller::Fill(const WriteBlock& block, FillMode mode,
                          std::span<std::byte> buffer,
                          std::vector<IoSlice>* slices) {
  const size_t file = region_files_[block.region];
  const OwnedExtent whole{.begin = block.byte_offset,
                          .end = block.byte_offset + block.nbytes,
                          .owner = rank_};
  BlockBuilder builder(block.byte_offset, mode, buffer, slices);
  while (builder.position() < whole.end) {
    DCP_RETURN_IF_ERROR(
        FillCell(CellAt(file, whole, builder.position()), builder));
  }
  builder.ReportChecksums(block.byte_offset, checksums_[file]);
  return absl::OkStatus();
}

void SharedFiller::Cancel() {
  if (exchange_ != nullptr) {
    exchange_->Cancel(
        MakeStatus(absl::StatusCode::kCancelled, "the write was given up"));
  }
  for (const SharedSource& source : sources_) {
    if (source.stream == nullptr) continue;
    source.stream->Cancel();
    break;  // all of a save's items have one stream
  }
}

Status SharedFiller::FillCell(const Cell& cell, BlockBuilder& builder) {
  const std::string& head = part_.files[cell.file].head;
  const std::vector<CellPart> parts = PartsOf(part_.files[cell.file], cell);
  if (parts.size() == 1 && parts[0].nbytes() == cell.end - cell.begin &&
      IsOwn(parts[0])) {
    return FillWhole(parts[0], cell, builder);
  }
  DCP_RETURN_IF_ERROR(RequireFilled(cell, parts));
  const std::span<std::byte> out = builder.Reserve(cell.end - cell.begin);
  if (cell.begin < std::ssize(head)) {
    const auto rest = std::string_view(head).substr(
        static_cast<size_t>(cell.begin), out.size());
    std::memcpy(out.data(), rest.data(), rest.size());
  }
  DCP_RETURN_IF_ERROR(PutParts(parts, cell, out));
  builder.Know(cell.end - cell.begin, Crc32(0, out));
  return absl::OkStatus();
}

Status SharedFiller::RequireFilled(const Cell& cell,
                                   const std::vector<CellPart>& parts) const {
  const SharedPartFile& file = part_.files[cell.file];
  int64_t known = std::clamp(std::ssize(file.head) - cell.begin, int64_t{0},
                             cell.end - cell.begin);
  for (const CellPart& part : parts) known += part.nbytes();
  if (known == cell.end - cell.begin) return absl::OkStatus();
  return Internal("of the bytes " + std::to_string(cell.begin) + " to " +
                  std::to_string(cell.end) + " of " + file.name + " only " +
                  std::to_string(known) + " have a rank that holds them");
}

Status SharedFiller::FillWhole(const CellPart& part, const Cell& cell,
                               BlockBuilder& builder) {
  const std::span<const std::byte> memory = MemoryOf(part);
  const int64_t nbytes = cell.end - cell.begin;
  if (builder.may_reference() && !memory.empty()) {
    // It is only read.
    builder.Reference({const_cast<std::byte*>(memory.data()), memory.size()});
    builder.Know(nbytes, Crc32(0, memory));
    return absl::OkStatus();
  }
  uint32_t crc = 0;
  for (int64_t at = 0; at < nbytes; at += kGatherGranule) {
    const std::span<std::byte> out =
        builder.Reserve(std::min(kGatherGranule, nbytes - at));
    DCP_RETURN_IF_ERROR(Gather(part, at, out));
    crc = Crc32(crc, out);
  }
  builder.Know(nbytes, crc);
  return absl::OkStatus();
}

Status SharedFiller::PutParts(const std::vector<CellPart>& parts,
                              const Cell& cell, std::span<std::byte> out) {
  Scratch memory = TakeScratch();
  const std::span<std::byte> scratch(memory.get(),
                                     static_cast<size_t>(kSharedCellNbytes));
  Status status;
  std::map<int, std::vector<CellPart>> received;
  for (const CellPart& part : parts) {
    if (IsOwn(part)) {
      status.Update(PutOwn(part, cell, scratch, out));
    } else {
      received[part.chunk->rank].push_back(part);
    }
  }
  for (const auto& [peer, theirs] : received) {
    if (!status.ok()) break;
    status = PutReceived(peer, theirs, cell, scratch, out);
  }
  GiveBack(std::move(memory));
  return status;
}

Status SharedFiller::PutOwn(const CellPart& part, const Cell& cell,
                            std::span<std::byte> scratch,
                            std::span<std::byte> out) {
  std::span<const std::byte> bytes = MemoryOf(part);
  if (bytes.empty()) {
    const auto gathered = scratch.first(static_cast<size_t>(part.nbytes()));
    DCP_RETURN_IF_ERROR(Gather(part, 0, gathered));
    bytes = gathered;
  }
  PutPart(part, cell, bytes, out);
  return absl::OkStatus();
}

Status SharedFiller::PutReceived(int peer, const std::vector<CellPart>& parts,
                                 const Cell& cell, std::span<std::byte> scratch,
                                 std::span<std::byte> out) {
  const CellMessages& messages = messages_.at(peer);
  const size_t number = messages.incoming_of.at(cell);
  std::span<std::byte> bytes =
      scratch.first(static_cast<size_t>(messages.incoming[number]));
  DCP_RETURN_IF_ERROR(exchange_->Receive(peer, number, bytes));
  for (const CellPart& part : parts) {
    PutPart(part, cell, bytes, out);
    bytes = bytes.subspan(static_cast<size_t>(part.nbytes()));
  }
  return absl::OkStatus();
}

Status SharedFiller::Read(int peer, size_t number, int64_t begin,
                          std::span<std::byte> out) {
  for (const CellPart& part : messages_.at(peer).outgoing[number]) {
    if (begin >= part.nbytes()) {
      begin -= part.nbytes();
      continue;
    }
    const auto count =
        std::min(out.size(), static_cast<size_t>(part.nbytes() - begin));
    DCP_RETURN_IF_ERROR(Gather(part, begin, out.first(count)));
    out = out.subspan(count);
    begin = 0;
    if (out.empty()) break;
  }
  return absl::OkStatus();
}

std::span<const std::byte> SharedFiller::Whole(int peer, size_t number) {
  const std::vector<CellPart>& parts = messages_.at(peer).outgoing[number];
  return parts.size() == 1 ? MemoryOf(parts[0]) : std::span<const std::byte>();
}

SharedFiller::Scratch SharedFiller::TakeScratch() {
  MutexLock lock(mutex_);
  if (scratch_.empty()) {
    return std::make_unique_for_overwrite<std::byte[]>(
        static_cast<size_t>(kSharedCellNbytes));
  }
  Scratch scratch = std::move(scratch_.back());
  scratch_.pop_back();
  return scratch;
}

void SharedFiller::GiveBack(Scratch scratch) {
  MutexLock lock(mutex_);
  scratch_.push_back(std::move(scratch));
}

}  // namespace dcp
