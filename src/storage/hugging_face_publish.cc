#include "storage/hugging_face_publish.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checksum.h"
#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "storage/leftovers.h"
#include "storage/sibling_directory.h"

namespace dcp {
namespace {

/// "<stem>-<the first 8 digits of the save id>".
std::string StemWithId(const std::string& stem, std::string_view save_id) {
  constexpr size_t kDigits = 8;
  const size_t begin = save_id.find('-') + 1;
  return stem + "-" + std::string(save_id.substr(begin, kDigits));
}

/// Of an index, or of there being several.
bool IsDamage(const Status& doubt) {
  return doubt.code() == absl::StatusCode::kDataLoss ||
         doubt.code() == absl::StatusCode::kInvalidArgument;
}

}  // namespace

void BindSidecar(std::string_view index_or_head, Sidecar* sidecar) {
  sidecar->metadata_nbytes = std::ssize(index_or_head);
  sidecar->metadata_crc32 = Crc32(0, index_or_head);
}

HuggingFacePublisher::HuggingFacePublisher(
    std::shared_ptr<FileSystem> file_system, PublishOptions options)
    : file_system_(std::move(file_system)), options_(std::move(options)) {}

HuggingFacePublisher::~HuggingFacePublisher() = default;

StatusOr<std::unique_ptr<HuggingFacePublisher>> HuggingFacePublisher::Open(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    PublishOptions options) {
  std::unique_ptr<HuggingFacePublisher> publisher(
      new HuggingFacePublisher(std::move(file_system), std::move(options)));
  const std::shared_ptr<FileSystem>& fs = publisher->file_system_;
  const PublishOptions& chosen = publisher->options_;
  if (!IsDcpcppSaveId(chosen.save_id)) {
    return InvalidArgument("\"" + chosen.save_id + "\" is no save id");
  }
  if (!fs->traits().atomic_rename) {
    return Unimplemented("safetensors files are published by renames, which " +
                         fs->traits().name + " lacks");
  }
  const ClaimRequest request{.directory = chosen.directory,
                             .save_id = chosen.save_id,
                             .session_id = chosen.session_id};
  DCP_ASSIGN_OR_RETURN(publisher->claim_,
                       ClaimDirectory(fs, std::move(clock), request));
  DCP_RETURN_IF_ERROR(RequireNoOtherKind(*fs, request));
  DCP_RETURN_IF_ERROR(publisher->LookAround());
  return publisher;
}

Status HuggingFacePublisher::LookAround() {
  const std::string& directory = options_.directory;
  FileSystem& fs = *file_system_;
  DCP_ASSIGN_OR_RETURN(const DirectorySurvey survey,
                       SurveyDirectory(fs, directory));
  // A `.metadata` that the disk does not let be opened may not be there.
  const auto failure = GetErrorDetail(survey.doubt);
  if (failure && failure->error_number != 0) return survey.doubt;
  if (survey.has_checkpoint) {
    return FailedPrecondition(
        directory +
        " holds a native checkpoint; a directory with safetensors files, too, "
        "could not be loaded: save into another one, or remove it first");
  }
  // What is damaged is replaced as far as it is known what it is. What cannot
  // be read may be all right.
  if (!survey.doubt.ok() && !IsDamage(survey.doubt)) return survey.doubt;
  survey_ = survey.safetensors;
  DCP_RETURN_IF_ERROR(RequireNoCheckpoint());
  DCP_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> entries, fs.List(directory));
  DCP_RETURN_IF_ERROR(RequireReplaceable(entries));
  // In doubt about what belongs to a checkpoint, nothing is removed.
  if (survey.doubt.ok()) RemoveLeftovers(FindLeftovers(survey));
  DCP_RETURN_IF_ERROR(RequireNoStrays());
  DCP_RETURN_IF_ERROR(RequireNoForeignFile());
  DCP_ASSIGN_OR_RETURN(entries, fs.List(directory));
  return ChooseWay(entries);
}

std::string HuggingFacePublisher::IndexName() const {
  return options_.file_stem + std::string(kSafetensorsIndexSuffix);
}

std::string HuggingFacePublisher::SingleName() const {
  return SafetensorsShardName(options_.file_stem, 1, 1);
}

Status HuggingFacePublisher::RequireNoForeignFile() const {
  const std::string name = SingleName();
  if (options_.file_per_rank ||
      !std::binary_search(survey_.strays.begin(), survey_.strays.end(), name)) {
    return absl::OkStatus();
  }
  return FailedPrecondition(
      JoinPath(options_.directory, name) +
      " was written by another program, and a save would take its name: save "
      "into another directory, or remove it first");
}

Status HuggingFacePublisher::RequireReplaceable(
    std::span<const DirectoryEntry> entries) const {
  for (const DirectoryEntry& entry : entries) {
    if (entry.name != IndexName() && entry.name != SingleName()) continue;
    const std::string path = JoinPath(options_.directory, entry.name);
    if (entry.kind == FileKind::kDirectory) {
      return ErrnoToStatus(EISDIR, {.op = "replace", .path = path});
    }
    if (entry.kind == FileKind::kOther) {
      return Annotate(ErrnoToStatus(EINVAL, {.op = "replace", .path = path}),
                      "it is neither a file nor a link");
    }
  }
  return absl::OkStatus();
}

Status HuggingFacePublisher::RequireNoCheckpoint() const {
  if (options_.overwrite || !survey_.has_checkpoint) return absl::OkStatus();
  // The index says more than a file.
  std::vector<std::string> names = {IndexName(), SingleName(),
                                    std::string(kSafetensorsIndexName),
                                    std::string(kSafetensorsSingleName)};
  std::erase_if(names, [this](const std::string& name) {
    return !survey_.replaced.contains(name);
  });
  for (const std::string& name : survey_.replaced) {
    if (IsRankShardName(name)) names.push_back(name);
  }
  names.insert(names.end(), survey_.strays.begin(), survey_.strays.end());
  const std::string name = names.empty() ? "" : names.front();
  return FailedPrecondition(
      "Checkpoint already exists and self.overwrite=False. (" +
      JoinPath(options_.directory, name) + ")");
}

void HuggingFacePublisher::RemoveLeftovers(std::vector<std::string> names) {
  // Whether a data file's metadata is on another node, nobody knows here.
  std::erase_if(names, [this](const std::string& name) {
    return ParseDataFileName(name) || RecordTagOf(name, options_.session_id);
  });
  // Siblings first: a sidecar that no index names any more may tell whose one
  // of them is.
  for (const Sibling& sibling :
       FindSiblings(*file_system_, options_.directory)) {
    RemoveSibling(*file_system_, options_.directory, sibling.path,
                  options_.sync);
  }
  // What stays is left to the next save.
  RemoveLeftoverFiles(*file_system_, options_.directory, std::move(names))
      .IgnoreError();
}

bool HuggingFacePublisher::needs_index() const {
  return !options_.file_per_rank &&
         (way_ == PublishWay::kIndexed || !survey_.strays.empty());
}

std::vector<ShardPlace> HuggingFacePublisher::PlaceShards(int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 1; i <= count; ++i) {
    names.push_back(
        way_ == PublishWay::kIndexed
            ? FormatSafetensorsFileName(
                  {.stem = StemWithId(options_.file_stem, options_.save_id),
                   .number = i,
                   .count = count})
            : SafetensorsShardName(options_.file_stem, i, count));
  }
  return Place(std::move(names));
}

std::vector<ShardPlace> HuggingFacePublisher::Place(
    std::vector<std::string> names) {
  for (std::string& name : names) {
    const auto i = std::ssize(shards_);
    std::string path = way_ == PublishWay::kExchange
                           ? JoinPath(sibling_, name)
                           : JoinPath(options_.directory,
                                      TemporaryShardName(options_.save_id, i));
    shards_.push_back({.path = std::move(path), .name = std::move(name)});
  }
  return shards_;
}

Status HuggingFacePublisher::CheckRequest(const PublishRequest& request) const {
  const auto& files = request.sidecar.files;
  const bool same_names =
      std::equal(files.begin(), files.end(), shards_.begin(), shards_.end(),
                 [](const SidecarFile& file, const ShardPlace& shard) {
                   return file.name == shard.name;
                 });
  if (!same_names || request.sidecar.save_id != options_.save_id) {
    return Internal("the sidecar is not one of the files that were placed");
  }
  const bool may_lack_index =
      options_.file_per_rank || (!needs_index() && shards_.size() == 1);
  if (request.index.empty() && !may_lack_index) {
    return Internal("these safetensors files need an index");
  }
  return RequireWritten();
}

Status HuggingFacePublisher::RequireWritten() const {
  for (const ShardPlace& shard : shards_) {
    DCP_ASSIGN_OR_RETURN(const bool exists, file_system_->Exists(shard.path));
    if (!exists) {
      return MakeStatus(absl::StatusCode::kAborted,
                        shard.path +
                            ", which this save wrote, was removed by another "
                            "writer before it could be published");
    }
  }
  return claim_->Check();
}

Status HuggingFacePublisher::SyncNames(const std::string& directory) {
  if (options_.sync == SyncMode::kNone ||
      !file_system_->traits().directory_sync) {
    return absl::OkStatus();
  }
  return file_system_->SyncDirectory(directory);
}

Status HuggingFacePublisher::Write(const std::string& directory,
                                   const std::string& name,
                                   std::string_view bytes) {
  DCP_RETURN_IF_ERROR(WriteFile(*file_system_, JoinPath(directory, name), bytes,
                                options_.sync));
  progress_.created.push_back(name);
  return absl::OkStatus();
}

Status HuggingFacePublisher::Publish(const PublishRequest& request) {
  if (claim_ == nullptr) return FailedPrecondition("Open() a save first");
  DCP_RETURN_IF_ERROR(CheckRequest(request));
  Status published = way_ == PublishWay::kExchange ? PublishByExchange(request)
                                                   : PublishInPlace(request);
  // Also where nobody knows whether it was published; Abandon() does the rest.
  if (progress_.attempted) claim_.reset();
  return published;
}

void HuggingFacePublisher::Abandon() {
  if (!progress_.attempted) {
    if (way_ == PublishWay::kExchange) {
      RemoveWithFiles(*file_system_, sibling_);
    } else {
      for (const ShardPlace& shard : shards_) {
        file_system_->Remove(shard.path).IgnoreError();
      }
      RemoveLeftoverFiles(*file_system_, options_.directory, progress_.created)
          .IgnoreError();
    }
  }
  claim_.reset();
}

}  // namespace dcp
