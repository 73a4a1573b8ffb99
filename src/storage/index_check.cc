#include "storage/index_check.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/file_names.h"
#include "storage/indexed_file.h"
#include "storage/metadata_file.h"
#include "storage/read_root.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

/// All sidecars in `directory` that can be parsed.
StatusOr<std::vector<Sidecar>> ReadAllSidecars(FileSystem& fs,
                                               const std::string& directory) {
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  return ReadSidecars(fs, directory, entries);
}

bool NamesOnlyFilesOf(const Metadata& metadata, const Sidecar& sidecar) {
  std::set<std::string_view> names;
  for (const SidecarFile& file : sidecar.files) names.insert(file.name);
  return std::all_of(metadata.storage_data.begin(), metadata.storage_data.end(),
                     [&](const auto& item) {
                       return names.contains(item.second.relative_path);
                     });
}

/// Anybody's, empty if there is none.
std::string SaveIdOf(const Metadata& metadata) {
  const auto& meta = metadata.storage_meta;
  return meta && meta->save_id ? *meta->save_id : "";
}

/// Whether `metadata`, of `nbytes`, is what `sidecar` was written with but for
/// a damaged save id. torch's own ids are shorter than dcp's; a checkpoint that
/// torch saved over one of dcp's does not pass for it.
bool IsDamagedTwin(const Metadata& metadata, size_t nbytes,
                   const Sidecar& sidecar) {
  const std::string save_id = SaveIdOf(metadata);
  return sidecar.metadata_nbytes == static_cast<int64_t>(nbytes) &&
         (save_id.empty() || save_id.size() == sidecar.save_id.size()) &&
         NamesOnlyFilesOf(metadata, sidecar);
}

class IndexChecker {
 public:
  IndexChecker(FileSystem& fs, const std::string& directory,
               const std::string& name, DamageLog& log)
      : fs_(fs),
        directory_(directory),
        path_(JoinPath(directory, name)),
        log_(log) {}

  StatusOr<CheckedIndex> Check() && {
    StatusOr<std::string> pickle =
        ReadMetadataBytes(fs_, path_, {.beneath = ReadRoot(directory_)});
    if (pickle.status().code() == absl::StatusCode::kNotFound) {
      return pickle.status();
    }
    StatusOr<Metadata> metadata =
        pickle.ok() ? ParseMetadata(*pickle) : pickle.status();
    if (metadata.ok()) {
      DCP_RETURN_IF_ERROR(FindSidecar(*metadata, *pickle));
      index_.metadata = *std::move(metadata);
    } else {
      AddMetadataDamage(metadata.status());
      DCP_RETURN_IF_ERROR(FindOnlySidecar());
    }
    return std::move(index_);
  }

 private:
  void AddMetadataDamage(const Status& status) {
    log_.Add(status, {.path = path_});
  }

  void Use(Sidecar sidecar) {
    index_.is_ours = true;
    index_.save_id = sidecar.save_id;
    index_.sidecar = std::move(sidecar);
  }

  /// For metadata that cannot be read.
  Status FindOnlySidecar() {
    DCP_ASSIGN_OR_RETURN(std::vector<Sidecar> all,
                         ReadAllSidecars(fs_, directory_));
    if (all.size() == 1) Use(std::move(all[0]));
    return absl::OkStatus();
  }

  Status FindSidecar(const Metadata& metadata, std::string_view pickle) {
    index_.save_id = SaveIdOf(metadata);
    const std::string_view save_id = DcpcppSaveIdOf(metadata);
    index_.is_ours = !save_id.empty();
    if (index_.is_ours) {
      auto content = ReadSidecarFile(fs_, directory_, save_id);
      if (content.ok()) {
        UseAndCheck(std::move(content->sidecar), metadata, pickle);
        return absl::OkStatus();
      }
      if (content.status().code() == absl::StatusCode::kFailedPrecondition) {
        return content.status();  // a later dcp's, which is no damage
      }
      log_.Add(content.status(),
               {.path = JoinPath(directory_, SidecarName(save_id))});
    }
    return FindTwin(metadata, pickle);
  }

  /// For metadata whose save id may be damaged.
  Status FindTwin(const Metadata& metadata, std::string_view pickle) {
    DCP_ASSIGN_OR_RETURN(std::vector<Sidecar> all,
                         ReadAllSidecars(fs_, directory_));
    const auto twin =
        std::find_if(all.begin(), all.end(), [&](const Sidecar& sidecar) {
          return IsDamagedTwin(metadata, pickle.size(), sidecar);
        });
    if (twin != all.end()) UseAndCheck(std::move(*twin), metadata, pickle);
    return absl::OkStatus();
  }

  /// `metadata` are those of `pickle`.
  void UseAndCheck(Sidecar sidecar, const Metadata& metadata,
                   std::string_view pickle) {
    const Status bound = CheckMetadataCrc(sidecar, pickle, path_);
    if (!bound.ok()) AddMetadataDamage(bound);
    if (sidecar.index) {
      const Status status =
          CheckIndexedFile(sidecar, bound.ok() ? &metadata : nullptr);
      if (!status.ok()) {
        log_.Add(status, {.path = JoinPath(directory_, IndexedMetadataName(
                                                           sidecar.save_id))});
      }
    }
    Use(std::move(sidecar));
  }

  /// Also that it says what `metadata` say, if these are not null.
  Status CheckIndexedFile(const Sidecar& sidecar, const Metadata* metadata) {
    DCP_RETURN_IF_ERROR(ReadIndexedFile(fs_, directory_, sidecar).status());
    DCP_ASSIGN_OR_RETURN(const IndexedMetadata indexed,
                         OpenIndexedFile(fs_, directory_, sidecar));
    return metadata == nullptr ? absl::OkStatus()
                               : indexed.CheckSays(*metadata);
  }

  FileSystem& fs_;
  const std::string& directory_;
  const std::string path_;
  DamageLog& log_;
  CheckedIndex index_;
};

}  // namespace

StatusOr<CheckedIndex> CheckIndex(FileSystem& file_system,
                                  const std::string& directory,
                                  const std::string& name, DamageLog& log) {
  return IndexChecker(file_system, directory, name, log).Check();
}

}  // namespace dcp
