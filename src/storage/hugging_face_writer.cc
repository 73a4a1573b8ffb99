// A save, from the storage's side:
// 1. SetUp: the directory is made and claimed, and how the save will be
//    published is chosen (hugging_face_publish.h).
// 2. PrepareLocalPlan: what safetensors cannot hold is refused; a rank that is
//    not alone opens a listener for the others.
// 3. PrepareGlobalPlan: the coordinator lays out the files (shared_layout.h, or
//    rank_layout.h for files of each rank's own, which it makes itself), makes
//    them, and tells each rank its part.
// 4. WriteData: the ranks write and send each other what they need
//    (shared_write.h).
// 5. Finish: every byte has been written once, by the checksums that the ranks
//    took; these are the sidecar's. Then the files are published.

#include "storage/hugging_face_writer.h"

#include <algorithm>
#include <utility>

#include "base/random_id.h"
#include "dcp/metadata_codec.h"
#include "io/stall.h"
#include "staging/buffer_cache.h"
#include "staging/pipeline_options.h"
#include "storage/checkpoint_directory.h"
#include "storage/environment.h"
#include "storage/export_dtype.h"
#include "storage/hugging_face_items.h"
#include "storage/rank_layout.h"
#include "storage/shared_description.h"
#include "storage/shared_division.h"
#include "storage/shared_write.h"
#include "storage/space_check.h"

namespace dcp {
namespace {

Status CheckOptions(const HuggingFaceWriterOptions& options,
                    const FileSystem& file_system) {
  DCP_RETURN_IF_ERROR(CheckExportDType(options.export_dtype));
  const bool is_stem =
      !options.file_stem.empty() &&
      std::all_of(options.file_stem.begin(), options.file_stem.end(),
                  [](char c) { return c == '_' || (c >= 'a' && c <= 'z'); });
  if (!is_stem) {
    return InvalidArgument("file_stem is a name of a-z and _, not \"" +
                           options.file_stem + "\"");
  }
  if (options.max_shard_nbytes < 1) {
    return InvalidArgument("max_shard_nbytes is a number of bytes, not " +
                           std::to_string(options.max_shard_nbytes));
  }
  if (!file_system.traits().positional_writes) {
    return Unimplemented(
        "safetensors are written to files at any place, which the file "
        "system " +
        file_system.traits().name + " cannot do");
  }
  return CheckThreadPlacement(options.io.placement);
}

}  // namespace

HuggingFaceWriter::HuggingFaceWriter(HuggingFaceWriterOptions options,
                                     StorageEnvironment environment)
    : options_(std::move(options)),
      unwatched_(std::move(environment.file_system)),
      file_system_(std::make_shared<WatchedFileSystem>(
          unwatched_, options_.io.stall_timeout)),
      device_(std::move(environment.device_runtime)),
      clock_(std::move(environment.clock)),
      rate_(WriteRate::Make(options_.io.max_write_rate, clock_)) {
  // A trainer may change its directory while the save goes on.
  options_.path = unwatched_->Absolute(options_.path);
}

SyncMode HuggingFaceWriter::sync_mode() const {
  return options_.sync_files ? SyncMode::kSync : SyncMode::kNone;
}

Status HuggingFaceWriter::SetUp(const StorageRole& role) {
  DCP_RETURN_IF_ERROR(CheckOptions(options_, *unwatched_));
  if (!role.use_collectives) {
    return InvalidArgument(
        "safetensors files are written by all ranks together: "
        "use_collectives=False is for PyTorch's own format");
  }
  role_ = role;
  save_id_ =
      options_.save_id.empty() ? "dcpcpp-" + MakeRandomHex() : options_.save_id;
  listener_.reset();
  publisher_.reset();
  layout_ = {};
  file_system_ = std::make_shared<WatchedFileSystem>(unwatched_,
                                                     options_.io.stall_timeout);
  DCP_RETURN_IF_ERROR(
      MakeCheckpointDirectory(*file_system_, options_.path, sync_mode()));
  if (!role_.is_coordinator) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(publisher_, HuggingFacePublisher::Open(
                                       file_system_, clock_,
                                       {.directory = options_.path,
                                        .save_id = save_id_,
                                        .session_id = options_.session_id,
                                        .file_stem = options_.file_stem,
                                        .overwrite = options_.overwrite,
                                        .file_per_rank = options_.file_per_rank,
                                        .sync = sync_mode()}));
  return absl::OkStatus();
}

StatusOr<std::string> HuggingFaceWriter::PrepareLocalPlan(
    const SavePlan& plan) {
  TrimKeptBuffers(
      ResolvePipelineOptions(options_.io, plan.items.size()).max_kept_nbytes);
  for (const WriteItem& item : plan.items) {
    DCP_RETURN_IF_ERROR(CheckHuggingFaceItem(item));
  }
  LocalNotes notes;
  if (role_.world_size > 1 && !options_.file_per_rank) {
    DCP_ASSIGN_OR_RETURN(listener_, PeerListener::Open());
    notes.address = listener_->address();
  }
  DCP_ASSIGN_OR_RETURN(const auto space, file_system_->Space(options_.path));
  notes.space = EncodeSpace(space);
  return SerializeNotes(notes);
}

StatusOr<std::vector<std::string>> HuggingFaceWriter::PrepareGlobalPlan(
    const GlobalPlan& plan, std::span<const std::string> local_notes) {
  std::vector<std::string> spaces;
  std::vector<std::string> addresses;
  for (size_t rank = 0; rank < local_notes.size(); ++rank) {
    DCP_ASSIGN_OR_RETURN(LocalNotes notes, ParseNotes(local_notes[rank], rank));
    spaces.push_back(std::move(notes.space));
    addresses.push_back(std::move(notes.address));
  }
  DCP_ASSIGN_OR_RETURN(const auto now, file_system_->Space(options_.path));
  DCP_RETURN_IF_ERROR(CheckSpace(plan.plans, spaces, now, options_.path));
  DCP_ASSIGN_OR_RETURN(layout_, LayOut(plan));
  files_of_ranks_ = FilesOfRanks(layout_, plan.plans.size());
  std::vector<SharedPart> parts = PartsOfRanks(layout_, plan.plans.size());
  DCP_RETURN_IF_ERROR(PlaceFiles(&parts));
  std::vector<std::string> notes;
  for (SharedPart& part : parts) {
    if (!options_.file_per_rank) part.addresses = addresses;
    notes.push_back(SerializeSharedPart(part));
    part = {};
  }
  return notes;
}

StatusOr<SharedLayout> HuggingFaceWriter::LayOut(const GlobalPlan& plan) const {
  if (options_.file_per_rank) {
    return LayOutRankFiles(plan, options_.file_numbers);
  }
  return LayOutSharedFiles(
      plan, {.file_numbers = options_.file_numbers,
             .max_file_nbytes = options_.max_shard_nbytes,
             .one_writer_per_file = options_.one_writer_per_file});
}

void HuggingFaceWriter::ChoosePlaces() {
  if (!options_.file_per_rank) {
    places_ = publisher_->PlaceShards(std::ssize(layout_.files));
    return;
  }
  std::vector<std::string> names;
  names.reserve(layout_.files.size());
  for (const SharedLayoutFile& file : layout_.files) names.push_back(file.name);
  places_ = publisher_->PlaceRankFiles(std::move(names));
}

Status HuggingFaceWriter::PlaceFiles(std::vector<SharedPart>* parts) {
  ChoosePlaces();
  for (size_t f = 0; f < places_.size(); ++f) {
    if (layout_.files[f].rank) continue;  // which makes it
    const int64_t nbytes = layout_.files[f].nbytes();
    DCP_ASSIGN_OR_RETURN(
        const auto file,
        file_system_->Open(places_[f].path, {.mode = OpenMode::kCreateNew}));
    DCP_RETURN_IF_ERROR(file->Truncate(nbytes));
    DCP_RETURN_IF_ERROR(file->Allocate(nbytes));
    DCP_RETURN_IF_ERROR(file->Close());
  }
  for (size_t rank = 0; rank < parts->size(); ++rank) {
    for (size_t i = 0; i < files_of_ranks_[rank].size(); ++i) {
      const ShardPlace& place = places_[files_of_ranks_[rank][i]];
      (*parts)[rank].files[i].path = place.path;
      (*parts)[rank].files[i].name = place.name;
    }
  }
  return absl::OkStatus();
}

StatusOr<WriteOutcome> HuggingFaceWriter::WriteData(const SavePlan& plan,
                                                    std::string_view notes,
                                                    WriteSource& source) {
  DCP_ASSIGN_OR_RETURN(const SharedPart part, ParseSharedPart(notes));
  const StatusOr<SharedOutcome> written = WriteShared(plan, part, source);
  if (!written.ok()) {
    if (IsStall(written.status())) file_system_->GiveUp(written.status());
    return written.status();
  }
  WriteOutcome outcome{.storage_data = SerializeSharedOutcome(*written)};
  DCP_ASSIGN_OR_RETURN(outcome.results, ResultsOf(plan, part, role_.rank));
  return outcome;
}

StatusOr<SharedOutcome> HuggingFaceWriter::WriteShared(const SavePlan& plan,
                                                       const SharedPart& part,
                                                       WriteSource& source) {
  const SharedWriter writer{.file_system = *file_system_,
                            .device = *device_,
                            .io = options_.io,
                            .sync = sync_mode(),
                            .rank = role_.rank,
                            .rate = rate_};
  return WriteSharedPart(writer, plan, part, std::move(listener_), source);
}

StatusOr<std::vector<SidecarFile>> HuggingFaceWriter::JoinOutcomes(
    std::span<const WriteOutcome> outcomes) {
  std::vector<std::vector<ChecksumPiece>> pieces(layout_.files.size());
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    DCP_ASSIGN_OR_RETURN(const SharedOutcome shared,
                         ParseSharedOutcome(outcomes[rank].storage_data));
    const std::vector<size_t>& numbers = files_of_ranks_[rank];
    if (shared.size() != numbers.size()) {
      return Internal("rank " + std::to_string(rank) + " wrote " +
                      std::to_string(shared.size()) + " of " +
                      std::to_string(numbers.size()) + " files");
    }
    for (size_t i = 0; i < shared.size(); ++i) {
      std::vector<ChecksumPiece>& all = pieces[numbers[i]];
      all.insert(all.end(), shared[i].begin(), shared[i].end());
    }
  }
  std::vector<SidecarFile> files;
  for (size_t f = 0; f < pieces.size(); ++f) {
    SidecarFile file{.name = places_[f].name,
                     .nbytes = layout_.files[f].nbytes()};
    DCP_ASSIGN_OR_RETURN(
        file.block_crcs,
        JoinChecksums(std::move(pieces[f]), file.nbytes, file.name));
    files.push_back(std::move(file));
  }
  return files;
}

StatusOr<std::string> HuggingFaceWriter::Finish(
    Metadata planned, std::vector<WriteOutcome> outcomes) {
  std::vector<std::string> names;
  names.reserve(places_.size());
  for (const ShardPlace& place : places_) names.push_back(place.name);
  std::string index;
  if (NeedsIndex()) {
    DCP_ASSIGN_OR_RETURN(index, MakeIndex(layout_, names, save_id_));
  }
  PublishRequest request{
      .index = index,
      .sidecar = {.save_id = save_id_, .step = StepOfDirectory(options_.path)}};
  DCP_ASSIGN_OR_RETURN(request.sidecar.files, JoinOutcomes(outcomes));
  BindSidecar(index.empty() ? layout_.files[0].head.bytes : index,
              &request.sidecar);
  DCP_RETURN_IF_ERROR(publisher_->Publish(request));
  Metadata published = DescribeLayout(layout_, names, planned);
  published.storage_meta = storage_meta();
  return SerializeMetadata(published);
}

bool HuggingFaceWriter::NeedsIndex() const {
  if (options_.file_per_rank) return false;
  return layout_.files.size() != 1 || publisher_->needs_index();
}

void HuggingFaceWriter::Abort() {
  listener_.reset();
  if (publisher_) publisher_->Abandon();
}

StorageMeta HuggingFaceWriter::storage_meta() const {
  return {.checkpoint_id = options_.path, .save_id = save_id_};
}

DType HuggingFaceWriter::StoredDType(DType dtype) const {
  const bool is_float = GetDTypeInfo(dtype).kind == DTypeKind::kFloat;
  return options_.export_dtype && is_float ? *options_.export_dtype : dtype;
}

std::unique_ptr<StorageWriter> MakeHuggingFaceWriter(
    HuggingFaceWriterOptions options, StorageEnvironment environment) {
  return std::make_unique<HuggingFaceWriter>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
