#include "nccl/nccl_header.h"

#include <cstring>

#include "base/checksum.h"
#include "base/wire.h"

namespace dcp {
namespace {

constexpr uint32_t kMagic = 0x6e706364;  // "dcpn"
constexpr uint16_t kVersion = 1;
constexpr size_t kCrcOffset = NcclHeader::kNbytes - sizeof(uint32_t);

std::string RankText(size_t rank) { return "rank " + std::to_string(rank); }

/// Whether `header`, of `rank`, is for the same call as rank 0's.
Status CompareCalls(const NcclHeader& header, size_t rank,
                    const NcclHeader& first) {
  if (header.method != first.method) {
    return FailedPrecondition(RankText(rank) + " called " +
                              NameOf(header.method) + " where rank 0 called " +
                              NameOf(first.method));
  }
  if (header.sequence != first.sequence) {
    return FailedPrecondition(
        RankText(rank) + " is at its call " + std::to_string(header.sequence) +
        " where rank 0 is at " + std::to_string(first.sequence));
  }
  const bool is_other_phase =
      header.method == NcclMethod::kAwaitAll && header != first;
  if (!is_other_phase) return absl::OkStatus();
  return FailedPrecondition(RankText(rank) +
                            " called AwaitAll for another phase than rank 0");
}

bool IsMethod(uint32_t number) {
  return number >= static_cast<uint32_t>(NcclMethod::kMeet) &&
         number <= static_cast<uint32_t>(NcclMethod::kLeave);
}

}  // namespace

std::string NameOf(NcclMethod method) {
  switch (method) {
    case NcclMethod::kMeet:
      return "MakeNcclTransport";
    case NcclMethod::kGather:
      return "Gather";
    case NcclMethod::kScatter:
      return "Scatter";
    case NcclMethod::kBroadcast:
      return "Broadcast";
    case NcclMethod::kAwaitAll:
      return "AwaitAll";
    case NcclMethod::kFailure:
    case NcclMethod::kLeave:
      break;
  }
  return "method " + std::to_string(static_cast<unsigned>(method));
}

NcclHeader HeaderOf(NcclMethod method, uint64_t sequence,
                    std::string_view message) {
  return {.method = method,
          .sequence = sequence,
          .nbytes = message.size(),
          .crc = Crc32(0, message)};
}

Status CheckMessage(const NcclHeader& header, std::string_view message,
                    int sender) {
  if (header.nbytes == message.size() && header.crc == Crc32(0, message)) {
    return absl::OkStatus();
  }
  return DataLoss("the message of rank " + std::to_string(sender) + " (" +
                  NameOf(header.method) + ", " + std::to_string(header.nbytes) +
                  " bytes) was changed on its way: its checksum differs");
}

void WriteHeader(const NcclHeader& header, std::span<char> place) {
  WireWriter writer;
  writer.PutU32(kMagic);
  writer.PutU32(kVersion | static_cast<uint32_t>(header.method) << 16);
  writer.PutU64(header.sequence);
  writer.PutU64(header.nbytes);
  writer.PutU32(header.crc);
  writer.PutU32(Crc32(0, writer.data()));
  std::memcpy(place.data(), writer.data().data(), NcclHeader::kNbytes);
}

StatusOr<NcclHeader> ReadHeader(std::string_view bytes, int sender) {
  const std::string name = "rank " + std::to_string(sender);
  WireReader reader(bytes, "header of " + name);
  if (reader.U32() != kMagic) {
    return FailedPrecondition(name + " sent what is not a message of libdcp");
  }
  const uint32_t version_and_method = reader.U32();
  const NcclHeader header{
      .method = static_cast<NcclMethod>(version_and_method >> 16),
      .sequence = reader.U64(),
      .nbytes = reader.U64(),
      .crc = reader.U32()};
  if (reader.U32() != Crc32(0, bytes.substr(0, kCrcOffset))) {
    return DataLoss("the header of " + name + " was changed on its way");
  }
  const uint32_t version = version_and_method & 0xffff;
  if (version != kVersion) {
    return FailedPrecondition(
        name + " speaks version " + std::to_string(version) +
        " of the protocol between ranks, and this one " +
        std::to_string(kVersion) + ": all ranks need the same libdcp");
  }
  if (!IsMethod(version_and_method >> 16)) {
    return DataLoss("the header of " + name + " names no method");
  }
  return header;
}

Status CompareHeaders(std::span<const NcclHeader> headers) {
  for (size_t rank = 0; rank < headers.size(); ++rank) {
    const NcclHeader& header = headers[rank];
    if (header.method == NcclMethod::kFailure) {
      const auto code = static_cast<absl::StatusCode>(header.nbytes);
      return MakeStatus(code, RankText(rank) + " gave up (" +
                                  absl::StatusCodeToString(code) +
                                  "): its own error says why");
    }
    if (header.method == NcclMethod::kLeave) {
      return MakeStatus(
          absl::StatusCode::kAborted,
          RankText(rank) + " is gone: its transport was destroyed");
    }
  }
  for (size_t rank = 1; rank < headers.size(); ++rank) {
    DCP_RETURN_IF_ERROR(CompareCalls(headers[rank], rank, headers[0]));
  }
  return absl::OkStatus();
}

}  // namespace dcp
