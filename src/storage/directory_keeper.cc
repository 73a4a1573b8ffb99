#include "storage/directory_keeper.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "format/file_names.h"
#include "format/safetensors_shards.h"
#include "storage/commit.h"

namespace dcp {
namespace {

/// "model", "model.<variant>" or "model-<...>", or as diffusers begins it.
bool IsModelStem(std::string_view stem) {
  for (const std::string_view model : {"model", "diffusion_pytorch_model"}) {
    if (!stem.starts_with(model)) continue;
    const std::string_view rest = stem.substr(model.size());
    return rest.empty() || rest.front() == '.' || rest.front() == '-';
  }
  return false;
}

}  // namespace

StatusOr<std::unique_ptr<DirectoryKeeper>> DirectoryKeeper::Open(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    const ClaimRequest& request) {
  std::unique_ptr<DirectoryKeeper> keeper(
      new DirectoryKeeper(std::move(file_system), request));
  FileSystem& fs = *keeper->file_system_;
  DCP_ASSIGN_OR_RETURN(
      keeper->claim_,
      ClaimDirectory(keeper->file_system_, std::move(clock), request));
  DCP_ASSIGN_OR_RETURN(keeper->survey_, SurveyDirectory(fs, request.directory));
  std::unordered_set<std::string> replaced = keeper->survey_.published;
  if (request.use_collectives) {
    // Checkpoints that ranks saved for themselves go as well, metadata first.
    for (const std::string& name : keeper->survey_.names) {
      if (ParseRankMetadataFileName(name)) keeper->replaced_.push_back(name);
    }
    replaced.merge(std::unordered_set(keeper->survey_.published_by_ranks));
  } else {
    // Metadata that cannot be read can be replaced all the same; its files stay
    // until somebody removes them as leftovers.
    replaced = PublishedBy(fs, JoinPath(request.directory,
                                        RankMetadataFileName(request.rank)))
                   .value_or(std::unordered_set<std::string>());
  }
  std::copy_if(replaced.begin(), replaced.end(),
               std::back_inserter(keeper->replaced_), CouldBeOurs);
  return keeper;
}

Status DirectoryKeeper::RemoveSharedCheckpoint(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    const std::string& directory, const std::string& save_id, SyncMode sync) {
  FileSystem& fs = *file_system;
  const std::string metadata = JoinPath(directory, kMetadataFileName);
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(metadata));
  if (!exists) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(const auto keeper,
                       Open(std::move(file_system), std::move(clock),
                            {.directory = directory, .save_id = save_id}));
  DCP_RETURN_IF_ERROR(fs.Remove(metadata));
  if (sync == SyncMode::kSync) {
    DCP_RETURN_IF_ERROR(fs.SyncDirectory(directory));
  }
  std::vector<std::string> names;
  for (const std::string& name : keeper->survey_.published) {
    if (CouldBeOurs(name) &&
        !keeper->survey_.published_by_ranks.contains(name)) {
      names.push_back(name);
    }
  }
  RemoveFiles(fs, directory, names).IgnoreError();
  return absl::OkStatus();
}

Status DirectoryKeeper::RequireNoSafetensors() const {
  // Files of other names may be anything: an adapter, an optimizer's state.
  for (const std::string& name : survey_.safetensors.strays) {
    const auto parsed = ParseSafetensorsFileName(name);
    if (parsed && IsModelStem(parsed->stem)) return HoldsSafetensors(name);
  }
  for (const std::string& name : survey_.safetensors.replaced) {
    if (!IsSidecarName(name)) return HoldsSafetensors(name);
  }
  return absl::OkStatus();
}

Status DirectoryKeeper::HoldsSafetensors(const std::string& name) const {
  return FailedPrecondition(
      request_.directory + " holds a safetensors checkpoint (" + name +
      "); a directory with a native one, too, could not be loaded: save into "
      "another one, or remove it first");
}

bool DirectoryKeeper::is_certain() const {
  return request_.use_collectives && survey_.doubt.ok() &&
         (survey_.has_checkpoint || claim_->was_abandoned());
}

void DirectoryKeeper::RemoveLeftovers() {
  if (!is_certain()) return;
  std::vector<std::string> names = FindLeftovers(survey_);
  std::erase_if(names, [this](const std::string& name) {
    return RecordTagOf(name, request_.session_id).has_value();
  });
  // What stays is left to the next save.
  RemoveLeftoverFiles(*file_system_, request_.directory, std::move(names))
      .IgnoreError();
}

RankNotes DirectoryKeeper::NotesFor(int64_t rank) const {
  RankNotes notes{.next_file_index = NextFileIndex(survey_.names, rank)};
  if (!is_certain()) return notes;
  notes.published.emplace();
  for (const auto* names : {&survey_.published, &survey_.published_by_ranks}) {
    for (const std::string& name : *names) {
      const auto parsed = ParseDataFileName(name);
      if (parsed && parsed->rank == rank) notes.published->insert(name);
    }
  }
  return notes;
}

Status DirectoryKeeper::CheckBeforeCommit(const Sidecar& sidecar) {
  DCP_RETURN_IF_ERROR(RequireFiles(sidecar));
  return claim_->Check();
}

Status DirectoryKeeper::RequireFiles(const Sidecar& sidecar) {
  std::string missing;
  bool is_shared = false;  // whether the files of other ranks are here, too
  bool misses_own = false;
  for (const SidecarFile& file : sidecar.files) {
    DCP_ASSIGN_OR_RETURN(
        const bool exists,
        file_system_->Exists(JoinPath(request_.directory, file.name)));
    const auto name = ParseDataFileName(file.name);
    const bool is_own = name && name->rank == request_.rank;
    if (exists) {
      is_shared = is_shared || !is_own;
    } else {
      missing = file.name;
      misses_own = misses_own || is_own;
    }
  }
  if (missing.empty() || !(misses_own || is_shared)) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kAborted,
                    JoinPath(request_.directory, missing) +
                        ", which this save wrote, was removed by another "
                        "writer before it could be published");
}

void DirectoryKeeper::RemoveReplaced(const Sidecar& sidecar) {
  // Where files of the old checkpoint were missing, new ones may have got their
  // names.
  std::unordered_set<std::string_view> kept;
  for (const SidecarFile& file : sidecar.files) kept.insert(file.name);
  std::erase_if(replaced_,
                [&](const std::string& name) { return kept.contains(name); });
  RemoveFiles(*file_system_, request_.directory, replaced_).IgnoreError();
}

}  // namespace dcp
