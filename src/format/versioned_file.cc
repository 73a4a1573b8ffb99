#include "format/versioned_file.h"

#include <utility>

#include "base/checksum.h"

namespace dcp {
void PutVersions(const VersionedFileKind& kind, uint32_t version,
                 uint32_t min_reader_version, WireWriter* out) {
  for (const char c : kind.magic) out->PutU8(static_cast<uint8_t>(c));
  out->PutU32(version);
  out->PutU32(min_reader_version);
}

std::string FinishVersionedFile(WireWriter out) {
  const uint32_t crc = Crc32(0, out.data());
  out.PutU32(crc);
  return std::move(out).Take();
}

StatusOr<VersionedContent> OpenVersionedFile(const VersionedFileKind& kind,
                                             std::string_view data) {
  constexpr size_t kCrcNbytes = sizeof(uint32_t);
  constexpr size_t kVersionsNbytes = 2 * sizeof(uint32_t);
  const std::string name(kind.name);
  if (!data.starts_with(kind.magic) ||
      data.size() < kind.magic.size() + kCrcNbytes) {
    return DataLoss(name + " does not begin as one");
  }
  const std::string_view content = data.substr(0, data.size() - kCrcNbytes);
  WireReader end(data.substr(content.size()), name);
  if (end.U32() != Crc32(0, content)) {
    return DataLoss(name + " does not match its CRC-32");
  }
  WireReader versions(content.substr(kind.magic.size()), name);
  const uint32_t version = versions.U32();
  const uint32_t min_reader = versions.U32();
  DCP_RETURN_IF_ERROR(versions.status());
  if (min_reader > kind.version) {
    return FailedPrecondition(
        "the checkpoint's " + name + " needs a reader of format " +
        std::to_string(min_reader) + ", this one is of format " +
        std::to_string(kind.version) + ": upgrade dcpcpp");
  }
  if (min_reader > version) {
    return DataLoss(name + " has an impossible version");
  }
  return VersionedContent{
      .version = version,
      .bytes = content.substr(kind.magic.size() + kVersionsNbytes)};
}

}  // namespace dcp
