// How files of dead saves are told from the user's:
//
// 1. A save that has not committed has its index under a temporary name, beside
//    its sidecar, which lists its files by name and size. Numbered files of
//    these names and sizes that no index in force names are its own. Of files
//    of ranks, which have no index, that name is a mark.
// 2. A save that has committed by an index has, until it is done, the list of
//    the files that it replaced (replaced_list.h), with their sizes. The list
//    counts while its index is in force.
// 3. An index and a list may come from anywhere. What they name that is called
//    neither as safetensors files are nor as a sidecar is the user's.

#include "storage/safetensors_survey.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "format/sidecar.h"
#include "storage/hugging_face_directory.h"
#include "storage/hugging_face_manifest.h"
#include "storage/limits.h"
#include "storage/replaced_list.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

bool IsSafetensorsName(std::string_view name) {
  return ParseSafetensorsFileName(name).has_value();
}

class Surveyor {
 public:
  Surveyor(FileSystem& fs, const std::string& directory,
           std::span<const DirectoryEntry> entries)
      : fs_(fs), directory_(directory), entries_(entries) {
    for (const DirectoryEntry& entry : entries) {
      if (entry.kind == FileKind::kFile) files_.insert(entry.name);
    }
  }

  SafetensorsSurvey Run() && {
    if (!HasSafetensors(entries_)) return {};
    ReadAllSidecars();
    const auto chosen = ChooseSafetensorsIndex(entries_, directory_);
    survey_.has_checkpoint = true;
    if (!chosen.ok()) {
      survey_.doubt.Update(chosen.status());
    } else if (const std::optional<std::string>& index = *chosen) {
      survey_.doubt.Update(LookAtIndex(*index));
    } else {
      survey_.doubt.Update(LookAtFiles());
    }
    Replace(std::string(kSafetensorsSingleName));
    const std::vector<std::string> replaced = Replaced();
    if (survey_.doubt.ok()) FindLeftovers(replaced);
    FindStrays();
    return std::move(survey_);
  }

 private:
  /// One that cannot be parsed is what a dead save left; one that cannot be
  /// read may be anything.
  void ReadAllSidecars() {
    for (const std::string& name : files_) {
      if (!IsSidecarName(name)) continue;
      auto content = ReadSidecarFile(fs_, directory_, name.substr(1));
      if (content.ok()) {
        sidecars_.push_back(std::move(content->sidecar));
      } else if (content.status().code() != absl::StatusCode::kDataLoss) {
        survey_.doubt.Update(content.status());
      }
    }
  }

  void Replace(const std::string& name) {
    if (files_.contains(name)) survey_.replaced.insert(name);
  }

  void PutInForce(std::string_view save_id) {
    survey_.sidecars_in_force.insert(SidecarName(save_id));
    Replace(SidecarName(save_id));
  }

  Status LookAtIndex(const std::string& name) {
    const std::string path = JoinPath(directory_, name);
    DCP_ASSIGN_OR_RETURN(
        const std::string text,
        ReadFile(fs_, path, static_cast<int64_t>(kMaxSafetensorsIndexNbytes),
                 {}));
    const auto index = ParseSafetensorsIndex(text);
    if (!index.ok()) return Annotate(index.status(), path);
    Replace(name);
    for (const auto& [key, file] : index->weight_map) {
      named_.insert(file);
      if (IsSafetensorsName(file)) Replace(file);
    }
    save_id_ = index->save_id;
    if (save_id_) PutInForce(*save_id_);
    // Without an id it may be one of ours that is damaged.
    for (const Sidecar& sidecar : sidecars_) {
      if (!save_id_ && sidecar.metadata_nbytes == std::ssize(text)) {
        PutInForce(sidecar.save_id);
      }
    }
    return absl::OkStatus();
  }

  Status LookAtFiles() {
    const auto sorted =
        SortOutFiles(fs_, directory_, entries_, SafetensorsNames(entries_));
    // Damage is no doubt about which file it is.
    survey_.has_checkpoint = !sorted.ok() || !sorted->names.empty();
    for (const std::string& name : files_) {
      if (IsRankShardName(name)) Replace(name);
    }
    for (const Sidecar& sidecar : sidecars_) {
      for (const SidecarFile& file : sidecar.files) {
        if (!NeedsNoIndex(file.name, sidecar)) continue;
        if (!IsThere(file.name, file.nbytes)) continue;
        PutInForce(sidecar.save_id);
        Replace(file.name);
      }
    }
    return absl::OkStatus();
  }

  bool NeedsNoIndex(const std::string& name, const Sidecar& sidecar) const {
    return !IsNumbered(name) ||
           (IsRankShardName(name) && !IsUnpublished(sidecar));
  }

  bool IsUnpublished(const Sidecar& sidecar) const {
    return files_.contains(TemporaryMetadataName(sidecar.save_id));
  }

  static bool IsNumbered(std::string_view name) {
    const auto parsed = ParseSafetensorsFileName(name);
    return !parsed || parsed->number != 0;
  }

  bool IsThere(const std::string& name, int64_t nbytes) {
    if (!files_.contains(name)) return false;
    const auto now = SizeOfFile(fs_, directory_, name);
    survey_.doubt.Update(now.status());
    return now.ok() && *now == nbytes;
  }

  void FindLeftovers(const std::vector<std::string>& replaced) {
    std::set<std::string> found;
    for (const Sidecar& sidecar : sidecars_) {
      if (!IsUnpublished(sidecar)) continue;
      for (const SidecarFile& file : sidecar.files) {
        const bool is_ours =
            IsSafetensorsName(file.name) && IsNumbered(file.name);
        if (is_ours && IsThere(file.name, file.nbytes)) found.insert(file.name);
      }
    }
    found.insert(replaced.begin(), replaced.end());
    for (const std::string& name : found) {
      if (named_.contains(name) || survey_.sidecars_in_force.contains(name)) {
        continue;
      }
      survey_.leftovers.push_back(name);
      survey_.replaced.erase(name);
    }
  }

  /// What the save whose index is in force has replaced and not yet removed. A
  /// list that cannot be parsed tells nothing any more; one that cannot be
  /// read, or only by a later version of dcp, must stay.
  std::vector<std::string> Replaced() {
    if (!save_id_) return {};
    const std::string path = JoinPath(directory_, ReplacedListName(*save_id_));
    const auto bytes = ReadFile(fs_, path, kMaxSidecarNbytes, {});
    if (bytes.status().code() == absl::StatusCode::kNotFound) return {};
    survey_.doubt.Update(bytes.status());
    if (!bytes.ok()) return {};
    auto files = ParseReplacedList(*bytes);
    if (files.ok()) {
      std::erase_if(*files, [](const ListedFile& file) {
        return !IsSafetensorsName(file.name) && !IsSidecarName(file.name);
      });
      return StillThere(fs_, directory_, *files);
    }
    if (files.status().code() != absl::StatusCode::kDataLoss) {
      survey_.doubt.Update(Annotate(files.status(), path));
    }
    return {};
  }

  void FindStrays() {
    for (const std::string& name : SafetensorsNames(entries_)) {
      const bool is_leftover = std::binary_search(
          survey_.leftovers.begin(), survey_.leftovers.end(), name);
      if (!is_leftover && !survey_.replaced.contains(name)) {
        survey_.strays.push_back(name);
      }
    }
  }

  FileSystem& fs_;
  const std::string& directory_;
  const std::span<const DirectoryEntry> entries_;
  std::set<std::string> files_;
  std::vector<Sidecar> sidecars_;
  std::set<std::string> named_;  // by the index in force
  std::optional<std::string> save_id_;
  SafetensorsSurvey survey_;
};

}  // namespace

SafetensorsSurvey SurveySafetensors(FileSystem& file_system,
                                    const std::string& directory,
                                    std::span<const DirectoryEntry> entries) {
  return Surveyor(file_system, directory, entries).Run();
}

}  // namespace dcp
