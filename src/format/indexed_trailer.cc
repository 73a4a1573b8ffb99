#include "format/indexed_trailer.h"

#include <utility>

#include "base/checksum.h"
#include "base/wire.h"
#include "format/versioned_file.h"

namespace dcp {
namespace {

/// What is written, and the oldest reader that understands it.
constexpr VersionedFileKind kKind{.magic = "DCPCPPI\n",
                                  .name = "indexed metadata"};
constexpr uint32_t kMinReaderVersion = 1;
/// The last fields: how long the trailer is, and the CRC-32 of it and the head.
constexpr size_t kEndNbytes = 2 * sizeof(uint32_t);

Status Damaged() { return DataLoss("indexed metadata are damaged"); }

/// Whether the parts fill the file, without overflow. A newer version may have
/// put others between them and the trailer.
bool FitsFile(const IndexedTrailer& trailer, uint64_t end, bool is_newer) {
  for (const uint64_t value :
       {trailer.directory_begin, trailer.entry_count, trailer.block_count,
        trailer.records_nbytes, trailer.files_nbytes, trailer.rest_nbytes}) {
    if (value > end || end > uint64_t{1} << 56) return false;
  }
  const uint64_t parts_end = trailer.directory_begin +
                             trailer.directory_nbytes() + trailer.rest_nbytes;
  return trailer.directory_begin >= kIndexedHeaderNbytes &&
         (is_newer ? parts_end <= end : parts_end == end);
}

IndexedTrailer GetTrailer(WireReader* in) {
  IndexedTrailer trailer;
  trailer.directory_begin = in->U64();
  trailer.entry_count = in->U64();
  trailer.block_count = in->U64();
  trailer.records_nbytes = in->U64();
  trailer.files_nbytes = in->U64();
  trailer.directory_crc32 = in->U32();
  trailer.rest_nbytes = in->U64();
  trailer.rest_crc32 = in->U32();
  trailer.metadata.nbytes = static_cast<int64_t>(in->U64());
  trailer.metadata.crc32 = in->U32();
  return trailer;
}

}  // namespace

std::string IndexedHeader() {
  WireWriter out;
  PutVersions(kKind, kKind.version, kMinReaderVersion, &out);
  return std::move(out).Take();
}

std::string SerializeTrailer(const IndexedTrailer& trailer) {
  WireWriter out;
  out.PutU64(trailer.directory_begin);
  out.PutU64(trailer.entry_count);
  out.PutU64(trailer.block_count);
  out.PutU64(trailer.records_nbytes);
  out.PutU64(trailer.files_nbytes);
  out.PutU32(trailer.directory_crc32);
  out.PutU64(trailer.rest_nbytes);
  out.PutU32(trailer.rest_crc32);
  out.PutU64(static_cast<uint64_t>(trailer.metadata.nbytes));
  out.PutU32(trailer.metadata.crc32);
  out.PutU32(static_cast<uint32_t>(out.data().size() + kEndNbytes));
  out.PutU32(Crc32(Crc32(0, IndexedHeader()), out.data()));
  return std::move(out).Take();
}

StatusOr<IndexedTrailer> ParseTrailer(std::string_view head,
                                      std::string_view tail, uint64_t nbytes) {
  if (!head.starts_with(kKind.magic) || head.size() != kIndexedHeaderNbytes ||
      nbytes < kIndexedHeaderNbytes + kEndNbytes || tail.size() < kEndNbytes) {
    return DataLoss("indexed metadata do not begin as such");
  }
  WireReader end(tail.substr(tail.size() - kEndNbytes), "indexed metadata");
  const size_t trailer_nbytes = end.U32();
  const uint32_t crc = end.U32();
  if (trailer_nbytes < kEndNbytes || trailer_nbytes > tail.size() ||
      trailer_nbytes > nbytes - kIndexedHeaderNbytes) {
    return Damaged();
  }
  const std::string_view content =
      tail.substr(tail.size() - trailer_nbytes, trailer_nbytes - sizeof(crc));
  if (Crc32(Crc32(0, head), content) != crc) return Damaged();
  WireReader versions(head.substr(kKind.magic.size()), "indexed metadata");
  const uint32_t version = versions.U32();
  const uint32_t min_reader = versions.U32();
  if (min_reader > kKind.version) {
    return FailedPrecondition(
        "the checkpoint's indexed metadata need a reader of format " +
        std::to_string(min_reader) + ", this one is of format " +
        std::to_string(kKind.version) + ": upgrade dcpcpp");
  }
  WireReader in(content.substr(0, content.size() - sizeof(uint32_t)),
                "the trailer of indexed metadata");
  const IndexedTrailer trailer = GetTrailer(&in);
  DCP_RETURN_IF_ERROR(version > kKind.version ? in.status() : in.Finish());
  if (min_reader > version || trailer.metadata.nbytes < 0 ||
      !FitsFile(trailer, nbytes - trailer_nbytes, version > kKind.version)) {
    return Damaged();
  }
  return trailer;
}

}  // namespace dcp
