#include "dcp/clean.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "base/random_id.h"
#include "format/file_names.h"
#include "storage/directory_claim.h"
#include "storage/leftovers.h"
#include "storage/sibling_directory.h"

namespace dcp {
namespace {

StatusOr<std::vector<Leftover>> Measure(FileSystem& fs,
                                        const std::string& directory,
                                        const std::vector<std::string>& names) {
  std::vector<Leftover> leftovers;
  for (const std::string& name : names) {
    DCP_ASSIGN_OR_RETURN(const auto file,
                         fs.Open(JoinPath(directory, name), {}));
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
    leftovers.push_back({.name = name, .nbytes = nbytes});
  }
  return leftovers;
}

/// The directory, and what single ranks save there, for as long as it lives.
class AllClaims {
 public:
  /// \error kAborted  a save is at work there, even if it has no data file yet
  Status Take(const std::shared_ptr<FileSystem>& fs,
              const std::shared_ptr<Clock>& clock, ClaimRequest request) {
    DCP_ASSIGN_OR_RETURN(directory_, ClaimDirectory(fs, clock, request));
    DCP_RETURN_IF_ERROR(RequireNoOtherKind(*fs, request));
    DCP_ASSIGN_OR_RETURN(const auto entries, fs->List(request.directory));
    request.use_collectives = false;
    for (const DirectoryEntry& entry : entries) {
      const auto data = ParseDataFileName(entry.name);
      if (!data || ranks_.contains(data->rank)) continue;
      request.rank = static_cast<int>(data->rank);
      DCP_ASSIGN_OR_RETURN(auto claim, ClaimDirectory(fs, clock, request));
      ranks_[data->rank] = std::move(claim);
    }
    return absl::OkStatus();
  }

  bool a_save_died() const {
    return directory_ != nullptr && directory_->was_abandoned();
  }
  /// Whether nobody is at work on a file of this name.
  bool Cover(const std::string& name) const {
    const auto data = ParseDataFileName(name);
    return !data || ranks_.contains(data->rank);
  }

 private:
  std::unique_ptr<DirectoryClaim> directory_;
  std::map<int64_t, std::unique_ptr<DirectoryClaim>> ranks_;
};

/// Names. \error  see CleanCheckpoint
StatusOr<std::vector<std::string>> RequireLeftovers(
    FileSystem& fs, const std::string& directory, const AllClaims& claims) {
  DCP_ASSIGN_OR_RETURN(const DirectorySurvey survey,
                       SurveyDirectory(fs, directory));
  DCP_RETURN_IF_ERROR(
      Annotate(survey.doubt, "nothing is removed from " + directory));
  std::vector<std::string> names = FindLeftovers(survey);
  std::erase_if(names, [&](const auto& name) { return !claims.Cover(name); });
  const bool has_data =
      std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return ParseDataFileName(name).has_value();
      });
  const bool is_safetensors = survey.safetensors.has_checkpoint && !has_data;
  if (names.empty() || survey.has_checkpoint || is_safetensors ||
      claims.a_save_died()) {
    return names;
  }
  return FailedPrecondition(
      directory + " holds " + std::to_string(names.size()) +
      " files of saves, such as " + names.front() +
      ", and no metadata, which may be on another node; nothing is removed");
}

Status RequireGone(FileSystem& fs, const std::string& sibling) {
  DCP_ASSIGN_OR_RETURN(const bool exists, fs.Exists(sibling));
  if (!exists) return absl::OkStatus();
  return FailedPrecondition(sibling +
                            ", which a dead save left, cannot be removed with "
                            "all that is in it");
}

/// Leaves the lock file of a dead save where it was: it tells the next one.
void PutLockFileBack(FileSystem& fs, const std::string& directory) {
  WriteFile(fs, JoinPath(directory, LockFileName(std::nullopt)), "",
            SyncMode::kNone)
      .IgnoreError();
}

StatusOr<std::vector<Leftover>> Clean(const std::string& path,
                                      const CleanOptions& options,
                                      StorageEnvironment environment) {
  const std::shared_ptr<FileSystem> fs =
      environment.file_system ? std::move(environment.file_system)
                              : MakePosixFileSystem();
  const std::shared_ptr<Clock> clock =
      environment.clock ? std::move(environment.clock) : MakeSystemClock();
  DCP_RETURN_IF_ERROR(fs->List(path).status());
  const ClaimRequest request{.directory = path,
                             .save_id = "dcpcpp-" + MakeRandomHex()};
  bool a_save_died = false;
  const auto clean = [&]() -> StatusOr<std::vector<Leftover>> {
    AllClaims claims;
    const Status taken = claims.Take(fs, clock, request);
    a_save_died = claims.a_save_died();
    DCP_RETURN_IF_ERROR(taken);
    DCP_ASSIGN_OR_RETURN(const auto names, RequireLeftovers(*fs, path, claims));
    DCP_ASSIGN_OR_RETURN(auto leftovers, Measure(*fs, path, names));
    // Siblings first: a sidecar that is left over may tell whose one of them
    // is.
    for (const Sibling& sibling : FindSiblings(*fs, path)) {
      leftovers.push_back(
          {.name = "../" + sibling.name, .nbytes = sibling.nbytes});
      if (options.dry_run) continue;
      RemoveSibling(*fs, path, sibling.path, SyncMode::kSync);
      DCP_RETURN_IF_ERROR(RequireGone(*fs, sibling.path));
    }
    if (!options.dry_run) {
      DCP_RETURN_IF_ERROR(RemoveLeftoverFiles(*fs, path, names));
    }
    return leftovers;
  };
  StatusOr<std::vector<Leftover>> leftovers = clean();
  if (a_save_died && (options.dry_run || !leftovers.ok())) {
    PutLockFileBack(*fs, path);
  }
  return leftovers;
}

}  // namespace

StatusOr<std::vector<Leftover>> CleanCheckpoint(
    const std::string& path, const CleanOptions& options,
    StorageEnvironment environment) {
  return Guarded([&] { return Clean(path, options, std::move(environment)); });
}

}  // namespace dcp
