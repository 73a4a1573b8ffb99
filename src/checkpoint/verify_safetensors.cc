// 1. The index and the headers are read, each file's for itself: headers by the
//    format's rules, which prove the sizes of files, and what the index lists.
// 2. The parts of each tensor must cover it and not overlap.
// 3. Files that a save of ours wrote are read, and compared with its sidecar.

#include "checkpoint/verify_safetensors.h"

#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "io/paths.h"
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

class Checker {
 public:
  Checker(std::string directory, const VerifyOptions& options,
          const StorageEnvironment& environment)
      : directory_(std::move(directory)),
        options_(options),
        environment_(environment) {}

  StatusOr<VerifyReport> CheckDirectory() && {
    const auto add = [this](const Status& status) -> Status {
      if (!IsDamage(status)) return status;
      log_.Add(status, {.path = directory_});
      return absl::OkStatus();
    };
    return Check(ReadHuggingFaceDirectory(*environment_.file_system, directory_,
                                          SidecarUse::kFind, add),
                 CoverageRule::kRequireFull);
  }

  StatusOr<VerifyReport> CheckFile(const std::string& name) && {
    auto read =
        ReadHuggingFaceFile(*environment_.file_system, directory_, name);
    if (read.ok()) read->sidecar = SidecarOf(name);
    // A rank's file has its own part of a tensor only.
    return Check(std::move(read), CoverageRule::kAllowGaps);
  }

 private:
  /// Lists nothing but `name`, or nothing.
  Sidecar SidecarOf(const std::string& name) const {
    // What is wrong with other files is not asked.
    auto all = ReadHuggingFaceDirectory(
        *environment_.file_system, directory_, SidecarUse::kFind,
        [](const Status&) { return absl::OkStatus(); });
    if (!all.ok()) return Sidecar();
    std::erase_if(all->sidecar.files,
                  [&](const SidecarFile& file) { return file.name != name; });
    return all->sidecar.files.empty() ? Sidecar() : std::move(all->sidecar);
  }

  StatusOr<VerifyReport> Check(StatusOr<HuggingFaceCheckpoint> read,
                               CoverageRule coverage) {
    if (read.status().code() == absl::StatusCode::kDataLoss) {
      log_.Add(read.status(), {.path = directory_});
      read = HuggingFaceCheckpoint();
    }
    DCP_RETURN_IF_ERROR(read.status());
    const auto& [metadata, sidecar] = *read;
    const std::vector<StoredItem> items =
        ItemsOf(sidecar, ListStoredItems({.metadata = metadata,
                                          .path = directory_,
                                          .directory = directory_,
                                          .coverage = coverage},
                                         log_));
    DCP_ASSIGN_OR_RETURN(const FileCheckTotals totals,
                         CheckFiles({.file_system = *environment_.file_system,
                                     .device = *environment_.device_runtime,
                                     .directory = directory_,
                                     .sidecar = sidecar,
                                     .items = items,
                                     .io = options_.io},
                                    log_));
    VerifyReport report{.format = CheckpointFormat::kSafetensors};
    report.save_id = sidecar.save_id;
    report.is_ours = !sidecar.files.empty();
    report.files = CountFiles(metadata, sidecar);
    report.tensors = std::ssize(metadata.entries());
    report.nbytes = totals.nbytes;
    report.damages = log_.Take();
    return report;
  }

  const std::string directory_;
  const VerifyOptions& options_;
  const StorageEnvironment& environment_;
  DamageLog log_;
};

}  // namespace

StatusOr<VerifyReport> VerifySafetensors(
    const std::string& directory, const VerifyOptions& options,
    const StorageEnvironment& environment) {
  return Checker(directory, options, environment).CheckDirectory();
}

StatusOr<VerifyReport> VerifySafetensorsFile(
    const std::string& path, const VerifyOptions& options,
    const StorageEnvironment& environment) {
  return Checker(ParentPath(path), options, environment)
      .CheckFile(LastName(path));
}

}  // namespace dcp
