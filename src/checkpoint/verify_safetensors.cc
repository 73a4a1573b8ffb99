// 1. The index and the headers are read, each file's for itself: headers by the
//    format's rules, which prove the sizes of files, and what the index lists.
// 2. The parts of each tensor must cover it and not overlap.
// 3. Files that a save of ours wrote are read, and compared with its sidecar.

#include "checkpoint/verify_safetensors.h"

#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/file_check.h"
#include "storage/hugging_face_directory.h"
#include "storage/metadata_check.h"

namespace dcp {
namespace {

std::vector<StoredItem> ItemsOf(const Sidecar& sidecar,
                                std::vector<StoredItem> items) {
  std::set<std::string_view> names;
  for (const SidecarFile& file : sidecar.files) names.insert(file.name);
  std::erase_if(items, [&](const StoredItem& item) {
    return !names.contains(item.info.relative_path);
  });
  return items;
}

int64_t CountFiles(const Metadata& metadata, const Sidecar& sidecar) {
  std::set<std::string_view> names;
  for (const auto& [index, info] : metadata.storage_data) {
    names.insert(info.relative_path);
  }
  for (const SidecarFile& file : sidecar.files) names.insert(file.name);
  return std::ssize(names);
}

/// Damage that concerns a file; what dcp cannot read is none.
bool IsDamage(const Status& status) {
  return status.code() != absl::StatusCode::kUnimplemented &&
         status.code() != absl::StatusCode::kResourceExhausted;
}

}  // namespace

StatusOr<VerifyReport> VerifySafetensors(
    const std::string& directory, const VerifyOptions& options,
    const StorageEnvironment& environment) {
  DamageLog log;
  VerifyReport report{.format = CheckpointFormat::kSafetensors};
  const auto add = [&](const Status& status) -> Status {
    if (!IsDamage(status)) return status;
    log.Add(status, {.path = directory});
    return absl::OkStatus();
  };
  auto read = ReadHuggingFaceDirectory(*environment.file_system, directory,
                                       SidecarUse::kFind, add);
  if (read.status().code() == absl::StatusCode::kDataLoss) {
    log.Add(read.status(), {.path = directory});
    read = HuggingFaceCheckpoint();
  }
  DCP_RETURN_IF_ERROR(read.status());
  const auto& [metadata, sidecar] = *read;
  const std::vector<StoredItem> items = ItemsOf(
      sidecar,
      ListStoredItems(
          {.metadata = metadata, .path = directory, .directory = directory},
          log));
  DCP_ASSIGN_OR_RETURN(const FileCheckTotals totals,
                       CheckFiles({.file_system = *environment.file_system,
                                   .device = *environment.device_runtime,
                                   .directory = directory,
                                   .sidecar = sidecar,
                                   .items = items,
                                   .io = options.io},
                                  log));
  report.save_id = sidecar.save_id;
  report.is_ours = !sidecar.files.empty();
  report.files = CountFiles(metadata, sidecar);
  report.tensors = std::ssize(metadata.entries());
  report.nbytes = totals.nbytes;
  report.damages = log.Take();
  return report;
}

}  // namespace dcp
