#include "checkpoint/step_index.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "dcp/hugging_face_storage.h"
#include "dcp/verify.h"
#include "format/file_names.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_directory.h"

namespace dcp {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleFileName = "model.safetensors";

/// A save that was killed may have left safetensors files that look whole. It
/// gives one of these names last. Of files of ranks a sidecar tells the reader
/// whether they are published.
Status RequirePublished(std::span<const DirectoryEntry> entries,
                        const std::string& path) {
  const auto has = [&](const auto& is_one) {
    return std::any_of(
        entries.begin(), entries.end(),
        [&](const DirectoryEntry& entry) { return is_one(entry.name); });
  };
  const bool is_published =
      has([](std::string_view name) {
        return name == kIndexName || name == kSingleFileName;
      }) ||
      (has(IsRankShardName) && has(IsSidecarName));
  if (is_published || !HasSafetensors(entries)) return absl::OkStatus();
  return NotFound(path + " has safetensors files, but neither " +
                  std::string(kIndexName) + " nor " +
                  std::string(kSingleFileName) +
                  ": a save that did not end, or no checkpoint of a run");
}

Status RequireVerified(const std::string& path,
                       const FindLatestOptions& options,
                       const StorageEnvironment& environment) {
  DCP_ASSIGN_OR_RETURN(const VerifyReport report,
                       Verify(path, {.io = options.io}, environment));
  if (report.damages.empty()) {
    if (report.is_ours || report.format != CheckpointFormat::kSafetensors) {
      return absl::OkStatus();
    }
    return Unimplemented("the data of " + path +
                         " cannot be verified: these safetensors files have "
                         "no checksums, dcp did not write them");
  }
  const Damage& first = report.damages.front();
  std::string fault = first.path + ": " + first.message;
  if (!first.fqn.empty()) fault += " (" + first.fqn + ")";
  if (report.damages.size() > 1) {
    fault +=
        ", and " + std::to_string(report.damages.size() - 1) + " more damages";
  }
  return DataLoss(fault);
}

}  // namespace

StatusOr<CheckpointIndex> ReadStepIndex(const std::string& path,
                                        const FindLatestOptions& options,
                                        const StorageEnvironment& environment) {
  const auto entries = environment.file_system->List(path);
  // The reader has the better words for what cannot be listed.
  if (entries.ok()) DCP_RETURN_IF_ERROR(RequirePublished(*entries, path));
  const auto reader =
      MakeReaderByContent({.path = path, .io = options.io}, environment);
  DCP_ASSIGN_OR_RETURN(CheckpointIndex index, reader->ReadIndex());
  if (options.check == StepCheck::kCommitted) return index;
  DCP_RETURN_IF_ERROR(RequireVerified(path, options, environment));
  return index;
}

}  // namespace dcp
