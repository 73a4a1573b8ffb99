#include "storage/filesystem_writer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/checksum.h"
#include "base/random_id.h"
#include "base/traced.h"
#include "format/file_names.h"
#include "format/sidecar.h"
#include "io/stall.h"
#include "staging/buffer_cache.h"
#include "staging/pipeline_options.h"
#include "storage/checkpoint_directory.h"
#include "storage/environment.h"
#include "storage/export_dtype.h"
#include "storage/file_assignment.h"
#include "storage/indexed_file.h"
#include "storage/leftovers.h"
#include "storage/limits.h"
#include "storage/metadata_files.h"
#include "storage/rank_notes.h"
#include "storage/space_check.h"
#include "storage/write_items.h"

namespace dcp {

FileSystemWriter::FileSystemWriter(FileSystemWriterOptions options,
                                   StorageEnvironment environment,
                                   size_t min_indexed_items)
    : options_(std::move(options)),
      min_indexed_items_(min_indexed_items),
      unwatched_(std::move(environment.file_system)),
      file_system_(std::make_shared<WatchedFileSystem>(
          unwatched_, options_.io.stall_timeout)),
      device_(std::move(environment.device_runtime)),
      clock_(std::move(environment.clock)),
      rate_(WriteRate::Make(options_.io.max_write_rate, clock_)) {
  if (options_.checkpoint_id.empty()) options_.checkpoint_id = options_.path;
  // A trainer may change its directory while the save goes on.
  options_.path = unwatched_->Absolute(options_.path);
}

SyncMode FileSystemWriter::sync_mode() const {
  return options_.sync_files ? SyncMode::kSync : SyncMode::kNone;
}

Status FileSystemWriter::SetUp(const StorageRole& role) {
  DCP_RETURN_IF_ERROR(CheckExportDType(options_.export_dtype));
  DCP_RETURN_IF_ERROR(CheckThreadPlacement(options_.io.placement));
  role_ = role;
  save_id_ =
      options_.save_id.empty() ? "dcpcpp-" + MakeRandomHex() : options_.save_id;
  commit_ = {};
  files_.clear();
  created_.clear();
  keeper_.reset();
  file_system_ = std::make_shared<WatchedFileSystem>(unwatched_,
                                                     options_.io.stall_timeout);
  DCP_RETURN_IF_ERROR(
      MakeCheckpointDirectory(*file_system_, options_.path, sync_mode()));
  const bool publishes = role_.is_coordinator || !role_.use_collectives;
  return publishes ? Claim() : absl::OkStatus();
}

Status FileSystemWriter::SetUpToPublish() {
  role_.is_coordinator = true;
  return keeper_ ? absl::OkStatus() : Claim();
}

Status FileSystemWriter::Claim() {
  DCP_RETURN_IF_ERROR(RequireReplaceable(*file_system_, options_.path, role_));
  DCP_ASSIGN_OR_RETURN(
      keeper_, DirectoryKeeper::Open(file_system_, clock_,
                                     {.directory = options_.path,
                                      .rank = role_.rank,
                                      .use_collectives = role_.use_collectives,
                                      .save_id = save_id_,
                                      .session_id = options_.session_id}));
  DCP_RETURN_IF_ERROR(keeper_->RequireNoOtherKind());
  DCP_RETURN_IF_ERROR(keeper_->RequireNoSafetensors());
  if (options_.overwrite) return absl::OkStatus();
  return RequireNoCheckpoint(*file_system_, options_.path, role_);
}

StatusOr<std::string> FileSystemWriter::PrepareLocalPlan(const SavePlan& plan) {
  // Before the plans of many items take their memory.
  TrimKeptBuffers(
      ResolvePipelineOptions(options_.io, plan.items.size()).max_kept_nbytes);
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system_->List(options_.path));
  own_names_.clear();
  for (const DirectoryEntry& entry : entries) {
    const auto name = ParseDataFileName(entry.name);
    if (name && name->rank == role_.rank) own_names_.push_back(entry.name);
  }
  next_file_index_ = NextFileIndex(own_names_, role_.rank);
  DCP_ASSIGN_OR_RETURN(const auto space, file_system_->Space(options_.path));
  return EncodeSpace(space);
}

StatusOr<std::vector<std::string>> FileSystemWriter::PrepareGlobalPlan(
    const GlobalPlan& plan, std::span<const std::string> local_notes) {
  keeper_->RemoveLeftovers();
  // What zstd will make of the bytes is not known before.
  if (options_.compression == Compression::kNone) {
    DCP_ASSIGN_OR_RETURN(const auto now, file_system_->Space(options_.path));
    DCP_RETURN_IF_ERROR(
        CheckSpace(plan.plans, local_notes, now, options_.path));
  }
  std::vector<std::string> notes;
  for (size_t i = 0; i < plan.plans.size(); ++i) {
    const auto rank = static_cast<int64_t>(i);
    notes.push_back(SerializeRankNotes(
        keeper_->NotesFor(role_.use_collectives ? rank : role_.rank)));
  }
  return notes;
}

Status FileSystemWriter::ActOnNotes(std::string_view serialized) {
  DCP_ASSIGN_OR_RETURN(const RankNotes notes, ParseRankNotes(serialized));
  next_file_index_ = std::max(next_file_index_, notes.next_file_index);
  if (notes.published) {
    RemoveFiles(*file_system_, options_.path,
                OtherFilesOfRank(own_names_, role_.rank, *notes.published))
        .IgnoreError();
  }
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<DataFile>> FileSystemWriter::CreateFile() {
  // Names that are taken although no list had them, before we give up.
  constexpr int kMaxTakenNames = 1000;
  const DirectIo direct = options_.compression == Compression::kNone
                              ? options_.io.direct_io
                              : DirectIo::kOff;
  created_.emplace_back();  // so that a name is never lost for want of memory
  for (int i = 0;; ++i) {
    std::string name =
        FormatDataFileName({.rank = role_.rank, .index = next_file_index_++});
    auto file = DataFile::Create(*file_system_, options_.path, name, direct);
    // Somebody who does not know of claims came before.
    const bool is_taken =
        file.status().code() == absl::StatusCode::kAlreadyExists;
    if (is_taken && i < kMaxTakenNames) continue;
    if (file.ok()) {
      created_.back() = std::move(name);
    } else {
      created_.pop_back();
    }
    return file;
  }
}

StatusOr<WriteOutcome> FileSystemWriter::WriteData(const SavePlan& plan,
                                                   std::string_view notes,
                                                   WriteSource& source) {
  // Under torch's protocol nobody sends notes.
  if (!notes.empty()) DCP_RETURN_IF_ERROR(ActOnNotes(notes));
  if (Status written = WriteFiles(plan, source); !written.ok()) {
    if (IsStall(written)) file_system_->GiveUp(written);
    return written;
  }
  WriteOutcome outcome;
  outcome.results.reserve(plan.items.size());
  std::vector<SidecarFile> records(files_.size());
  for (size_t i = 0; i < files_.size(); ++i) {
    files_[i]->TakeResults(&outcome.results, &records[i]);
  }
  outcome.storage_data =
      SerializeSidecar({.save_id = save_id_, .files = std::move(records)});
  files_.clear();
  return outcome;
}

Status FileSystemWriter::WriteFiles(const SavePlan& plan, WriteSource& source) {
  const auto assigned = AssignToFiles(plan, options_);
  for (std::span rest(assigned); !rest.empty();) {
    const auto some = rest.first(std::min(rest.size(), kMaxOpenFiles));
    DCP_RETURN_IF_ERROR(WriteSomeFiles(some, source));
    rest = rest.subspan(some.size());
  }
  if (options_.sync_files && file_system_->traits().directory_sync) {
    return file_system_->SyncDirectory(options_.path);
  }
  return absl::OkStatus();
}

Status FileSystemWriter::WriteSomeFiles(
    std::span<const std::vector<const WriteItem*>> assigned,
    WriteSource& source) {
  std::vector<FileItems> work;
  for (const auto& items : assigned) {
    DCP_ASSIGN_OR_RETURN(auto file, CreateFile());
    work.push_back({.file = file.get(), .items = items});
    files_.push_back(std::move(file));
  }
  const ItemWriter writer{.file_system = *file_system_,
                          .device = *device_,
                          .options = options_,
                          .source = source,
                          .rate = rate_};
  DCP_RETURN_IF_ERROR(options_.compression == Compression::kNone
                          ? WriteItems(writer, work)
                          : WriteCompressedItems(writer, work));
  for (const FileItems& written : work) {
    DCP_RETURN_IF_ERROR(Traced(source.trace().get(), "sync", [&] {
      return written.file->Finish(sync_mode());
    }));
  }
  return absl::OkStatus();
}

StatusOr<std::string> FileSystemWriter::Finish(
    Metadata metadata, std::vector<WriteOutcome> outcomes) {
  metadata.storage_meta = storage_meta();
  metadata.version = std::string(kMetadataVersion);
  // Each rank reads all of what it has saved for itself.
  DCP_ASSIGN_OR_RETURN(
      MetadataFiles files,
      MakeMetadataFiles(metadata, &outcomes,
                        role_.use_collectives ? min_indexed_items_ : kNoIndex));
  metadata = {};  // large, and no longer needed
  std::vector<std::string> storage_data;
  storage_data.reserve(outcomes.size());
  for (WriteOutcome& outcome : outcomes) {
    storage_data.push_back(std::move(outcome.storage_data));
  }
  DCP_RETURN_IF_ERROR(PublishFiles(files.pickle, files.index, storage_data));
  return std::move(files.pickle);
}

Status FileSystemWriter::Publish(std::string_view metadata_pickle,
                                 std::span<const std::string> storage_data) {
  return PublishFiles(metadata_pickle, {}, storage_data);
}

Status FileSystemWriter::PublishFiles(
    std::string_view metadata_pickle, std::string_view index,
    std::span<const std::string> storage_data) {
  Sidecar sidecar{.save_id = save_id_, .step = StepOfDirectory(options_.path)};
  if (!index.empty()) sidecar.index = BindIndex(index);
  for (const std::string& data : storage_data) {
    DCP_ASSIGN_OR_RETURN(Sidecar part, ParseSidecar(data));
    std::move(part.files.begin(), part.files.end(),
              std::back_inserter(sidecar.files));
  }
  sidecar.metadata_nbytes = static_cast<int64_t>(metadata_pickle.size());
  sidecar.metadata_crc32 = Crc32(0, metadata_pickle);
  if (!keeper_) return FailedPrecondition("SetUp() comes before Publish()");
  DCP_RETURN_IF_ERROR(keeper_->CheckBeforeCommit(sidecar));
  Status published = Commit(*file_system_,
                            {.directory = options_.path,
                             .metadata_name = MetadataNameOf(role_),
                             .metadata = metadata_pickle,
                             .save_id = save_id_,
                             .sidecar = SerializeSidecar(sidecar),
                             .index = index,
                             .sync = sync_mode()},
                            &commit_);
  if (published.ok()) keeper_->RemoveReplaced(sidecar);
  // The claim ends here also where nobody knows whether it was published: then
  // there is no Abort(), and this object may be kept by whoever saw the error.
  if (commit_.attempted) keeper_.reset();
  return published;
}

Status FileSystemWriter::Conclude() {
  if (role_.use_collectives) return absl::OkStatus();
  return DirectoryKeeper::RemoveSharedCheckpoint(
      file_system_, clock_, options_.path, save_id_, sync_mode());
}

void FileSystemWriter::Abort() {
  files_.clear();
  if (!commit_.attempted) {
    std::erase(created_, std::string());
    RemoveFiles(*file_system_, options_.path, created_).IgnoreError();
    RemoveFiles(*file_system_, options_.path, commit_.created).IgnoreError();
  }
  created_.clear();
  keeper_.reset();
}

StorageMeta FileSystemWriter::storage_meta() const {
  return {.checkpoint_id = options_.checkpoint_id, .save_id = save_id_};
}

DType FileSystemWriter::StoredDType(DType dtype) const {
  return dcp::StoredDType(options_, dtype);
}

std::unique_ptr<StorageWriter> MakeFileSystemWriter(
    FileSystemWriterOptions options, StorageEnvironment environment) {
  return std::make_unique<FileSystemWriter>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
