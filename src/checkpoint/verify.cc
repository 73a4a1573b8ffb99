// 1. `.metadata` and its sidecar are read, or, where every rank has its own,
//    all `__<rank>.metadata`.
// 2. What the metadata promises is checked without looking at data.
// 3. Files that a sidecar lists are read as a whole, others item by item.
// 4. Damage may mean that a save has replaced the checkpoint meanwhile. Then
//    there are other sidecars now than at the beginning, and all is checked
//    again, once.
//
// Without any metadata, it may be a directory of safetensors files, or one
// such file (verify_safetensors.cc). Other files are torch.save's
// (verify_torch_file.cc).

#include "dcp/verify.h"

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/no_checkpoint.h"
#include "checkpoint/opened_path.h"
#include "checkpoint/verify_safetensors.h"
#include "checkpoint/verify_torch_file.h"
#include "format/file_names.h"
#include "storage/environment.h"
#include "storage/file_check.h"
#include "storage/hugging_face_directory.h"
#include "storage/index_check.h"
#include "storage/metadata_check.h"

namespace dcp {
namespace {

class Verifier {
 public:
  Verifier(std::string directory, const VerifyOptions& options,
           const StorageEnvironment& environment)
      : directory_(std::move(directory)),
        options_(options),
        environment_(environment),
        file_system_(*environment.file_system) {}

  StatusOr<VerifyReport> Run() && {
    const std::string global(kMetadataFileName);
    StatusOr<CheckedIndex> index =
        CheckIndex(file_system_, directory_, global, log_);
    if (index.ok()) {
      report_.save_id = index->save_id;
      report_.is_ours = index->is_ours;
      DCP_RETURN_IF_ERROR(Check(global, *index, CoverageRule::kRequireFull));
    } else if (index.status().code() == absl::StatusCode::kNotFound) {
      const auto entries = file_system_.List(directory_);
      const auto names =
          entries.ok() ? RankNames(*entries) : std::vector<std::string>();
      if (names.empty() && entries.ok() && HasSafetensors(*entries)) {
        return VerifySafetensors(directory_, options_, environment_);
      }
      if (names.empty()) {
        return ExplainNotFound(file_system_, directory_, index.status());
      }
      DCP_RETURN_IF_ERROR(CheckRanks(names));
    } else {
      return index.status();
    }
    report_.damages = log_.Take();
    return std::move(report_);
  }

 private:
  Status CheckRanks(const std::vector<std::string>& names) {
    report_.is_ours = true;
    for (const std::string& name : names) {
      DCP_ASSIGN_OR_RETURN(const CheckedIndex index,
                           CheckIndex(file_system_, directory_, name, log_));
      report_.is_ours &= index.is_ours;
      // A rank knows its own part of a tensor only.
      DCP_RETURN_IF_ERROR(Check(name, index, CoverageRule::kAllowGaps));
    }
    return absl::OkStatus();
  }

  static std::vector<std::string> RankNames(
      std::span<const DirectoryEntry> entries) {
    std::vector<std::string> names;
    for (const DirectoryEntry& entry : entries) {
      if (ParseRankMetadataFileName(entry.name)) names.push_back(entry.name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Status Check(const std::string& name, const CheckedIndex& index,
               CoverageRule coverage) {
    std::vector<StoredItem> items;
    if (index.metadata) {
      Count(*index.metadata);
      items = ListStoredItems({.metadata = *index.metadata,
                               .path = JoinPath(directory_, name),
                               .directory = directory_,
                               .coverage = coverage},
                              log_);
    }
    DCP_ASSIGN_OR_RETURN(
        const FileCheckTotals totals,
        CheckFiles({.file_system = file_system_,
                    .device = *environment_.device_runtime,
                    .directory = directory_,
                    .sidecar = index.sidecar.value_or(Sidecar()),
                    .items = items,
                    .io = options_.io},
                   log_));
    report_.files += totals.files;
    report_.nbytes += totals.nbytes;
    return absl::OkStatus();
  }

  void Count(const Metadata& metadata) {
    for (const auto& [fqn, entry] : metadata.entries()) {
      const bool is_tensor =
          std::holds_alternative<TensorStorageMetadata>(entry);
      ++(is_tensor ? report_.tensors : report_.objects);
    }
  }

  const std::string directory_;
  const VerifyOptions& options_;
  const StorageEnvironment& environment_;
  FileSystem& file_system_;
  DamageLog log_;
  VerifyReport report_;
};

/// The names of the sidecars in `directory`; none if it is not there.
StatusOr<std::set<std::string>> SidecarsIn(FileSystem& file_system,
                                           const std::string& directory) {
  std::set<std::string> names;
  const auto entries = file_system.List(directory);
  if (entries.status().code() == absl::StatusCode::kNotFound) return names;
  DCP_RETURN_IF_ERROR(entries.status());
  for (const DirectoryEntry& entry : *entries) {
    if (IsSidecarName(entry.name)) names.insert(entry.name);
  }
  return names;
}

bool MayBeReplacement(const StatusOr<VerifyReport>& report) {
  if (!report.ok())
    return report.status().code() == absl::StatusCode::kNotFound;
  // Without its sidecar a safetensors file passes for somebody else's.
  return !report->damages.empty() ||
         (report->format == CheckpointFormat::kSafetensors && !report->is_ours);
}

StatusOr<VerifyReport> VerifyDirectory(const std::string& directory,
                                       const VerifyOptions& options,
                                       const StorageEnvironment& environment) {
  FileSystem& file_system = *environment.file_system;
  DCP_ASSIGN_OR_RETURN(const auto before, SidecarsIn(file_system, directory));
  StatusOr<VerifyReport> report =
      Verifier(directory, options, environment).Run();
  if (!MayBeReplacement(report)) return report;
  const auto after = SidecarsIn(file_system, directory);
  if (!after.ok() || *after == before) return report;
  return Verifier(directory, options, environment).Run();
}

}  // namespace

StatusOr<VerifyReport> Verify(const std::string& path,
                              const VerifyOptions& options,
                              StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<VerifyReport> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    FileSystem& file_system = *seams.file_system;
    DCP_ASSIGN_OR_RETURN(const bool is_file, IsFile(file_system, path));
    if (!is_file) return VerifyDirectory(path, options, seams);
    const std::string absolute = file_system.Absolute(path);
    return path.ends_with(".safetensors")
               ? VerifySafetensorsFile(absolute, options, seams)
               : VerifyTorchFile(absolute, options, seams);
  });
}

}  // namespace dcp
