#include "storage/hugging_face_publish.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checksum.h"
#include "base/random_id.h"
#include "dcp/hugging_face_storage.h"
#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "storage/environment.h"
#include "storage/leftovers.h"
#include "storage/sibling_directory.h"

namespace dcp {
namespace {

constexpr std::string_view kStem = "model";
constexpr std::string_view kSingleName = "model.safetensors";

/// "model-<the first 8 digits of the save id>".
std::string StemOf(std::string_view save_id) {
  constexpr size_t kDigits = 8;
  const size_t begin = save_id.find('-') + 1;
  return std::string(kStem) + "-" + std::string(save_id.substr(begin, kDigits));
}

/// Of an index, or of there being several.
bool IsDamage(const Status& doubt) {
  return doubt.code() == absl::StatusCode::kDataLoss ||
         doubt.code() == absl::StatusCode::kInvalidArgument;
}

/// Why a save does not exchange a directory with these entries.
Status RequireFilesOnly(std::span<const DirectoryEntry> entries) {
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kFile) {
      return Unimplemented(entry.name + " in it is no file");
    }
    // Its holder replaces it all the time.
    if (entry.name == LeaseFileName(std::nullopt)) {
      return Unimplemented("there are no locks of files");
    }
  }
  return absl::OkStatus();
}

}  // namespace

void BindSidecar(std::string_view index_or_head, Sidecar* sidecar) {
  sidecar->metadata_nbytes = std::ssize(index_or_head);
  sidecar->metadata_crc32 = Crc32(0, std::as_bytes(std::span(index_or_head)));
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
  DCP_ASSIGN_OR_RETURN(entries, fs.List(directory));
  ChooseWay(entries);
  return absl::OkStatus();
}

Status HuggingFacePublisher::RequireReplaceable(
    std::span<const DirectoryEntry> entries) const {
  for (const DirectoryEntry& entry : entries) {
    if (entry.name != kSafetensorsIndexName && entry.name != kSingleName) {
      continue;
    }
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
  std::string name(kSafetensorsIndexName);
  if (!survey_.replaced.contains(name)) {
    name = survey_.strays.empty() ? std::string(kSingleName)
                                  : survey_.strays.front();
    if (survey_.replaced.contains(std::string(kSingleName))) name = kSingleName;
  }
  return FailedPrecondition(
      "Checkpoint already exists and self.overwrite=False. (" +
      JoinPath(options_.directory, name) + ")");
}

void HuggingFacePublisher::RemoveLeftovers(std::span<const std::string> names) {
  for (const std::string& name : names) {
    // Whether a data file's metadata is on another node, nobody knows here.
    if (ParseDataFileName(name) || RecordTagOf(name, options_.session_id)) {
      continue;
    }
    file_system_->Remove(JoinPath(options_.directory, name)).IgnoreError();
  }
  for (const Sibling& sibling :
       FindSiblings(*file_system_, options_.directory)) {
    RemoveSibling(*file_system_, options_.directory, sibling.path,
                  options_.sync);
  }
}

void HuggingFacePublisher::ChooseWay(std::span<const DirectoryEntry> entries) {
  if (!survey_.has_checkpoint && survey_.strays.empty()) {
    way_ = PublishWay::kFresh;
    return;
  }
  const Status prepared = PrepareExchange(entries);
  way_ = prepared.ok() ? PublishWay::kExchange : PublishWay::kIndexed;
  if (!prepared.ok()) why_indexed_ = Message(prepared);
}

Status HuggingFacePublisher::PrepareExchange(
    std::span<const DirectoryEntry> entries) {
  // Savers put records into it by its name, and could miss one another.
  if (!options_.session_id.empty()) {
    return Unimplemented("savers talk through the directory");
  }
  DCP_RETURN_IF_ERROR(RequireFilesOnly(entries));
  DCP_ASSIGN_OR_RETURN(sibling_,
                       SiblingPath(options_.directory, options_.save_id));
  DCP_ASSIGN_OR_RETURN(
      const std::vector<std::string> carried,
      FilesToCarry(*file_system_, options_.directory, entries));
  return MakeSibling(*file_system_, options_.directory, sibling_, carried);
}

bool HuggingFacePublisher::needs_index() const {
  return way_ == PublishWay::kIndexed || !survey_.strays.empty();
}

std::vector<ShardPlace> HuggingFacePublisher::PlaceShards(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    ShardPlace place;
    if (way_ == PublishWay::kIndexed) {
      place.name = FormatSafetensorsFileName(
          {.stem = StemOf(options_.save_id), .number = i + 1, .count = count});
    } else {
      place.name = SafetensorsShardName(kStem, i + 1, count);
    }
    place.path = way_ == PublishWay::kExchange
                     ? JoinPath(sibling_, place.name)
                     : JoinPath(options_.directory,
                                TemporaryShardName(options_.save_id, i));
    shards_.push_back(std::move(place));
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
  if (request.index.empty() && (needs_index() || shards_.size() != 1)) {
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
  DCP_RETURN_IF_ERROR(way_ == PublishWay::kExchange ? PublishByExchange(request)
                                                    : PublishInPlace(request));
  claim_.reset();
  return absl::OkStatus();
}

void HuggingFacePublisher::Abandon() {
  if (!progress_.attempted) {
    if (way_ == PublishWay::kExchange) {
      RemoveWithFiles(*file_system_, sibling_);
    } else {
      for (const ShardPlace& shard : shards_) {
        file_system_->Remove(shard.path).IgnoreError();
      }
      RemoveFiles(*file_system_, options_.directory, progress_.created);
    }
  }
  claim_.reset();
}

StatusOr<std::string> DescribeSafetensorsOverwrite(
    const std::string& path, StorageEnvironment environment) {
  const StorageEnvironment seams = WithDefaults(std::move(environment));
  FileSystem& fs = *seams.file_system;
  const std::string directory = fs.Absolute(path);
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  const auto try_exchange = [&]() -> Status {
    DCP_RETURN_IF_ERROR(RequireFilesOnly(entries));
    DCP_ASSIGN_OR_RETURN(const std::string sibling,
                         SiblingPath(directory, "dcpcpp-" + MakeRandomHex()));
    DCP_ASSIGN_OR_RETURN(std::vector<std::string> carried,
                         FilesToCarry(fs, directory, entries));
    if (carried.size() > 1) carried.resize(1);  // one will do to tell
    DCP_RETURN_IF_ERROR(MakeSibling(fs, directory, sibling, carried));
    RemoveWithFiles(fs, sibling);
    return absl::OkStatus();
  };
  const Status exchange = try_exchange();
  if (exchange.ok()) return "exchange of directories";
  return "save id names (" + std::string(Message(exchange)) + ")";
}

}  // namespace dcp
