// COMMIT.md, "Copies", has the order of events.

#include "dcp/copy.h"

#include <algorithm>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/random_id.h"
#include "checkpoint/copy_check.h"
#include "checkpoint/copy_source.h"
#include "checkpoint/in_doubt.h"
#include "format/file_names.h"
#include "storage/checkpoint_directory.h"
#include "storage/commit.h"
#include "storage/directory_keeper.h"
#include "storage/environment.h"
#include "storage/leftovers.h"

namespace dcp {
namespace {

/// Read and written at once; a multiple of what a checksum covers.
constexpr int64_t kStepNbytes = 8 * kSidecarBlockNbytes;

bool IsOfACheckpoint(std::string_view name) {
  return name == kMetadataFileName || ParseRankMetadataFileName(name) ||
         IsOfSafetensors(name);
}

class CopyOperation {
 public:
  CopyOperation(const CopySource& source, std::string destination,
                const CopyOptions& options,
                const StorageEnvironment& environment)
      : source_(source),
        destination_(std::move(destination)),
        options_(options),
        environment_(environment),
        fs_(*environment.file_system),
        save_id_(source.sidecar.save_id.empty() ? "dcpcpp-" + MakeRandomHex()
                                                : source.sidecar.save_id) {}

  StatusOr<CopyResult> Run() {
    Status copied = Guarded([this] { return Copy(); });
    if (!copied.ok() && !commit_.attempted) {
      RemoveLeftoverFiles(fs_, destination_, commit_.created).IgnoreError();
    }
    keeper_.reset();
    if (copied.ok()) return result_;
    if (commit_.attempted) return MarkInDoubt(copied);
    // What is gone or damaged may be so because it was replaced.
    if (copied.code() == absl::StatusCode::kNotFound ||
        copied.code() == absl::StatusCode::kDataLoss) {
      DCP_RETURN_IF_ERROR(RequireUnchanged(fs_, source_));
    }
    return copied;
  }

 private:
  Status Copy();
  Status Claim();
  Status RemoveOwnLeftovers();
  Status CheckSpace();
  Status CopyFile(const FileToCopy& file);
  Status Proceed() const;
  Status Publish();
  Status NameFiles();
  Status PublishNative();
  Status PublishIndex();

  bool is_native() const { return source_.format == CheckpointFormat::kDcp; }
  std::string PathOf(const std::string& name) const {
    return JoinPath(destination_, name);
  }

  /// What `file` is called until it is published. Nobody takes a native data
  /// file for one of a checkpoint before the metadata names it.
  std::string WrittenAs(const FileToCopy& file) const {
    if (file.is_data && is_native()) return file.name;
    return TemporaryShardName(save_id_, &file - source_.files.data());
  }
  bool IsLeftAlone(const FileToCopy& file) const {
    return !file.is_data && present_.contains(file.name);
  }

  Status Write(const std::string& name, std::string_view bytes) {
    DCP_RETURN_IF_ERROR(WriteFile(fs_, PathOf(name), bytes, SyncMode::kSync));
    commit_.created.push_back(name);
    return absl::OkStatus();
  }
  Status SyncNames() {
    if (!fs_.traits().directory_sync) return absl::OkStatus();
    return fs_.SyncDirectory(destination_);
  }

  const CopySource& source_;
  const std::string destination_;
  const CopyOptions& options_;
  const StorageEnvironment& environment_;
  FileSystem& fs_;
  const std::string save_id_;
  std::set<std::string> present_;  // in the destination, before
  std::vector<std::byte> buffer_;
  CopyResult result_;
  CommitProgress commit_;
  std::unique_ptr<DirectoryKeeper> keeper_;
};

Status CopyOperation::Copy() {
  DCP_RETURN_IF_ERROR(Claim());
  DCP_RETURN_IF_ERROR(CheckSpace());
  result_.format = source_.format;
  result_.not_copied = source_.not_copied;
  buffer_.resize(static_cast<size_t>(kStepNbytes));
  for (const FileToCopy& file : source_.files) {
    if (IsLeftAlone(file)) {
      result_.left_alone.push_back(file.name);
      continue;
    }
    DCP_RETURN_IF_ERROR(CopyFile(file));
  }
  DCP_RETURN_IF_ERROR(SyncNames());
  if (is_native()) {
    DCP_RETURN_IF_ERROR(
        CheckCopiedItems(source_, destination_, options_.io, environment_));
  }
  DCP_RETURN_IF_ERROR(RequireUnchanged(fs_, source_));
  return Publish();
}

/// Claims the destination, and makes sure that no checkpoint is there.
Status CopyOperation::Claim() {
  DCP_RETURN_IF_ERROR(
      MakeCheckpointDirectory(fs_, destination_, SyncMode::kSync));
  DCP_ASSIGN_OR_RETURN(
      keeper_,
      DirectoryKeeper::Open(environment_.file_system, environment_.clock,
                            {.directory = destination_, .save_id = save_id_}));
  DCP_RETURN_IF_ERROR(keeper_->RequireNoOtherKind());
  keeper_->RemoveLeftovers();
  DCP_RETURN_IF_ERROR(RemoveOwnLeftovers());
  // Else a power cut could leave data without the mark of who left it.
  DCP_RETURN_IF_ERROR(SyncNames());
  DCP_ASSIGN_OR_RETURN(const auto entries, fs_.List(destination_));
  for (const DirectoryEntry& entry : entries) {
    present_.insert(entry.name);
    if (!IsOfACheckpoint(entry.name)) continue;
    return FailedPrecondition(
        destination_ + " holds a checkpoint (" + entry.name +
        "), which a copy does not replace: copy into another directory, or "
        "remove it first");
  }
  return absl::OkStatus();
}

/// Of data files the keeper decides: their metadata may be on another node.
Status CopyOperation::RemoveOwnLeftovers() {
  DCP_ASSIGN_OR_RETURN(const DirectorySurvey survey,
                       SurveyDirectory(fs_, destination_));
  if (!survey.doubt.ok()) return absl::OkStatus();
  std::vector<std::string> names = FindLeftovers(survey);
  std::erase_if(names, [](const std::string& name) {
    return ParseDataFileName(name).has_value();
  });
  RemoveLeftoverFiles(fs_, destination_, std::move(names)).IgnoreError();
  return absl::OkStatus();
}

Status CopyOperation::CheckSpace() {
  DCP_ASSIGN_OR_RETURN(const auto space, fs_.Space(destination_));
  if (!space || space->free_nbytes >= source_.nbytes) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kResourceExhausted,
                    "the copy takes " + std::to_string(source_.nbytes) +
                        " bytes, and " + destination_ + " has room for " +
                        std::to_string(space->free_nbytes));
}

Status CopyOperation::CopyFile(const FileToCopy& file) {
  DCP_ASSIGN_OR_RETURN(const auto from, OpenToCopy(fs_, source_, file));
  const std::string name = WrittenAs(file);
  DCP_ASSIGN_OR_RETURN(const auto to,
                       fs_.Open(PathOf(name), {.mode = OpenMode::kCreateNew}));
  commit_.created.push_back(name);
  for (int64_t at = 0; at < file.nbytes; at += kStepNbytes) {
    const auto part = std::span(buffer_).first(
        static_cast<size_t>(std::min(kStepNbytes, file.nbytes - at)));
    const IoSlice slice{.data = part.data(), .nbytes = part.size()};
    DCP_RETURN_IF_ERROR(from->ReadFully(at, {&slice, 1}));
    if (file.record != nullptr) {
      DCP_RETURN_IF_ERROR(CheckBlocks(*file.record, from->path(), at, part));
    }
    DCP_RETURN_IF_ERROR(to->WriteFully(at, {&slice, 1}));
    result_.nbytes += std::ssize(part);
    DCP_RETURN_IF_ERROR(Proceed());
  }
  ++result_.files;
  DCP_RETURN_IF_ERROR(to->Sync());
  return to->Close();
}

Status CopyOperation::Proceed() const {
  if (!options_.progress) return absl::OkStatus();
  return options_.progress(
      {.nbytes_done = result_.nbytes, .nbytes_total = source_.nbytes});
}

/// Safetensors as a first save does it: COMMIT.md, "Safetensors", points 3, 6.
Status CopyOperation::Publish() {
  if (!source_.sidecar_bytes.empty()) ++result_.files;
  if (!source_.index_bytes.empty()) ++result_.files;
  if (source_.has_index()) ++result_.files;
  if (!is_native()) {
    if (!source_.sidecar_bytes.empty()) {
      DCP_RETURN_IF_ERROR(Write(SidecarName(save_id_), source_.sidecar_bytes));
    }
    if (source_.ends_by_file()) {
      DCP_RETURN_IF_ERROR(
          Write(TemporaryMetadataName(save_id_), source_.commit_bytes));
    }
    DCP_RETURN_IF_ERROR(SyncNames());
  }
  DCP_RETURN_IF_ERROR(keeper_->CheckBeforeCommit({}));
  DCP_RETURN_IF_ERROR(NameFiles());
  DCP_RETURN_IF_ERROR(SyncNames());
  if (is_native()) return PublishNative();
  return source_.ends_by_file() ? PublishIndex() : absl::OkStatus();
}

Status CopyOperation::NameFiles() {
  for (const FileToCopy& file : source_.files) {
    const std::string written = WrittenAs(file);
    if (written == file.name || IsLeftAlone(file)) continue;
    DCP_ASSIGN_OR_RETURN(const bool exists, fs_.Exists(PathOf(file.name)));
    if (exists) {  // a rename would replace it
      return MakeStatus(absl::StatusCode::kAlreadyExists,
                        PathOf(file.name) +
                            " was made by another program while this copy was "
                            "at work");
    }
    // Without an index the files are the checkpoint.
    if (file.is_data) commit_.attempted = !source_.ends_by_file();
    commit_.created.push_back(file.name);
    DCP_RETURN_IF_ERROR(fs_.Rename(PathOf(written), PathOf(file.name)));
  }
  return absl::OkStatus();
}

Status CopyOperation::PublishNative() {
  Sidecar written;
  for (const FileToCopy& file : source_.files) {
    if (file.is_data) written.files.push_back({.name = file.name});
  }
  DCP_RETURN_IF_ERROR(keeper_->CheckBeforeCommit(written));
  return Commit(fs_,
                {.directory = destination_,
                 .metadata_name = source_.commit_name,
                 .metadata = source_.commit_bytes,
                 .save_id = save_id_,
                 .sidecar = source_.sidecar_bytes,
                 .index = source_.index_bytes},
                &commit_);
}

Status CopyOperation::PublishIndex() {
  DCP_RETURN_IF_ERROR(keeper_->CheckBeforeCommit({}));
  const std::string file = PathOf(TemporaryMetadataName(save_id_));
  DCP_RETURN_IF_ERROR(commit_.Attempt([&] {
    return source_.has_index() ? fs_.Rename(file, PathOf(source_.commit_name))
                               : fs_.Remove(file);
  }));
  return SyncNames();
}

}  // namespace

StatusOr<CopyResult> CopyCheckpoint(const std::string& source,
                                    const std::string& destination,
                                    const CopyOptions& options,
                                    StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<CopyResult> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    FileSystem& fs = *seams.file_system;
    const std::string from = fs.Absolute(source);
    const std::string to = fs.Absolute(destination);
    if (from == to) {
      return InvalidArgument("the source and the destination are the same: " +
                             source);
    }
    DCP_ASSIGN_OR_RETURN(const CopySource read,
                         ReadCopySource(from, options.io, seams));
    return CopyOperation(read, to, options, seams).Run();
  });
}

}  // namespace dcp
