#include "checkpoint/copy_check.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "io/paths.h"
#include "storage/damage_log.h"
#include "storage/file_check.h"
#include "storage/metadata_check.h"

namespace dcp {
namespace {

/// The items of files without a record.
std::vector<StoredItem> ItemsToCheck(const CopySource& source,
                                     const std::string& destination,
                                     DamageLog& log) {
  std::set<std::string_view> recorded;
  for (const SidecarFile& file : source.sidecar.files) {
    recorded.insert(file.name);
  }
  std::vector<StoredItem> items =
      ListStoredItems({.metadata = source.metadata,
                       .path = JoinPath(source.directory, source.commit_name),
                       .directory = destination},
                      log);
  std::erase_if(items, [&](const StoredItem& item) {
    return recorded.contains(item.info.relative_path);
  });
  return items;
}

}  // namespace

Status CheckBlocks(const SidecarFile& record, const std::string& path,
                   int64_t byte_offset, std::span<const std::byte> bytes) {
  auto block = static_cast<size_t>(byte_offset / kSidecarBlockNbytes);
  for (size_t at = 0; at < bytes.size(); ++block) {
    const size_t nbytes =
        std::min(static_cast<size_t>(kSidecarBlockNbytes), bytes.size() - at);
    if (Crc32(0, bytes.subspan(at, nbytes)) != record.block_crcs[block]) {
      return CorruptionError(
          "the data differs from its recorded CRC-32",
          {.op = "copy",
           .path = path,
           .byte_offset = byte_offset + static_cast<int64_t>(at),
           .nbytes = static_cast<int64_t>(nbytes)});
    }
    at += nbytes;
  }
  return absl::OkStatus();
}

Status CheckCopiedItems(const CopySource& source,
                        const std::string& destination, const IoOptions& io,
                        const StorageEnvironment& environment) {
  DamageLog log;
  const std::vector<StoredItem> items = ItemsToCheck(source, destination, log);
  DCP_RETURN_IF_ERROR(CheckFiles({.file_system = *environment.file_system,
                                  .device = *environment.device_runtime,
                                  .directory = destination,
                                  .sidecar = Sidecar(),
                                  .items = items,
                                  .io = io},
                                 log)
                          .status());
  const std::vector<Damage> damages = log.Take();
  if (damages.empty()) return absl::OkStatus();
  const Damage& first = damages.front();
  return CorruptionError(
      "the source is damaged: " + first.message,
      {.op = "copy",
       .path = JoinPath(source.directory, LastName(first.path)),
       .byte_offset = first.byte_offset,
       .nbytes = first.nbytes,
       .fqn = first.fqn});
}

}  // namespace dcp
