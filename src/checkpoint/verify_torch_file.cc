// 1. What the file says that it holds is read, as a load reads it.
// 2. All records are read, and compared with their CRC-32s. One that differs
//    is damage to each tensor that lies in it.

#include "checkpoint/verify_torch_file.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "dcp/torch_file_storage.h"
#include "io/paths.h"
#include "staging/pipeline_options.h"
#include "storage/archive_check.h"
#include "storage/file_item_source.h"

namespace dcp {
namespace {

// Of more records than a state dict has tensors.
constexpr int64_t kMaxDirectoryNbytes = int64_t{1} << 30;

class TorchFileVerifier {
 public:
  TorchFileVerifier(std::string path, const VerifyOptions& options,
                    const StorageEnvironment& environment)
      : path_(std::move(path)),
        directory_(ParentPath(path_)),
        options_(options),
        environment_(environment) {}

  StatusOr<VerifyReport> Run() && {
    const auto reader =
        MakeTorchFileReader({.path = path_, .io = options_.io}, environment_);
    const StatusOr<CheckpointIndex> index = reader->ReadIndex();
    const bool is_damaged =
        index.status().code() == absl::StatusCode::kDataLoss;
    if (!is_damaged) {
      DCP_RETURN_IF_ERROR(index.status());
      Count(index->metadata);
    }
    DCP_RETURN_IF_ERROR(CheckRecords());
    report_.damages = log_.Take();
    // What is wrong with a record says more than what could not be read of it.
    if (is_damaged && report_.damages.empty()) {
      log_.Add(index.status(), {.path = path_});
      report_.damages = log_.Take();
    }
    return std::move(report_);
  }

 private:
  /// Counts keys, and lists those of tensors by where they lie.
  void Count(const Metadata& metadata) {
    for (const auto& [index, info] : metadata.storage_data) {
      if (metadata.FindTensor(index.fqn) == nullptr) {
        ++report_.objects;
        continue;
      }
      ++report_.tensors;
      items_.push_back({.index = index, .directory = directory_, .info = info});
    }
    std::sort(items_.begin(), items_.end(),
              [](const StoredItem& a, const StoredItem& b) {
                return a.info.offset < b.info.offset;
              });
  }

  Status CheckRecords() {
    DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         environment_.file_system->Open(
                             path_, {.direct_io = options_.io.direct_io}));
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
    FileItemSource source(*file);
    ItemReader reader(source, nbytes);
    auto records = ListItemRecords(reader, kMaxDirectoryNbytes);
    if (records.status().code() == absl::StatusCode::kDataLoss) {
      log_.Add(records.status(), {.path = path_});
      return absl::OkStatus();
    }
    DCP_RETURN_IF_ERROR(records.status());
    auto check = std::make_unique<ArchiveCheck>(*file, *std::move(records),
                                                items_, log_);
    report_.nbytes = check->nbytes();
    const std::unique_ptr<BlockCheck> checks[] = {std::move(check)};
    return RunBlockChecks(checks, ResolvePipelineOptions(options_.io));
  }

  const std::string path_;
  const std::string directory_;
  const VerifyOptions& options_;
  const StorageEnvironment& environment_;
  std::vector<StoredItem> items_;
  DamageLog log_;
  VerifyReport report_{.format = CheckpointFormat::kTorch, .files = 1};
};

}  // namespace

StatusOr<VerifyReport> VerifyTorchFile(const std::string& path,
                                       const VerifyOptions& options,
                                       const StorageEnvironment& environment) {
  return TorchFileVerifier(path, options, environment).Run();
}

}  // namespace dcp
