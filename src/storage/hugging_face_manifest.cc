#include "storage/hugging_face_manifest.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/checksum.h"
#include "format/file_names.h"
#include "format/safetensors_header.h"
#include "format/safetensors_shards.h"
#include "storage/checked_read.h"
#include "storage/read_root.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

const SidecarFile* FindFile(const Sidecar& sidecar, std::string_view name) {
  for (const SidecarFile& file : sidecar.files) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

/// A file that `index` names and `sidecar` does not list, empty if none.
std::string FindUnlisted(const SafetensorsIndex& index,
                         const Sidecar& sidecar) {
  for (const auto& [key, name] : index.weight_map) {
    if (FindFile(sidecar, name) == nullptr) return name;
  }
  return "";
}

/// What to do about damage that may be another program's work.
std::string HowToDisown(const Sidecar& sidecar) {
  return "; if another program has written it since, remove " +
         SidecarName(sidecar.save_id);
}

/// An index without a save id: that of another program, or one of ours whose
/// save id is damaged. Programs that rewrite ours change its size.
Status RequireNoTwin(const std::vector<Sidecar>& sidecars,
                     const IndexFile& file) {
  for (const Sidecar& sidecar : sidecars) {
    if (sidecar.metadata_nbytes == std::ssize(file.text) &&
        FindUnlisted(file.index, sidecar).empty()) {
      return CorruptionError(
          "the index differs from its recorded CRC-32" + HowToDisown(sidecar),
          {.op = "verify", .path = file.path});
    }
  }
  return absl::OkStatus();
}

bool IsNumbered(std::string_view name) {
  const auto parsed = ParseSafetensorsFileName(name);
  return parsed && parsed->number != 0;
}

/// Whether the file begins with the head that `sidecar` was written with.
StatusOr<bool> HasRecordedHead(File& file, int64_t file_nbytes,
                               const Sidecar& sidecar) {
  constexpr int64_t kMaxNbytes =
      kSafetensorsLengthNbytes + kMaxSafetensorsHeaderNbytes;
  const int64_t nbytes = sidecar.metadata_nbytes;
  if (nbytes > std::min(file_nbytes, kMaxNbytes)) return false;
  DCP_ASSIGN_OR_RETURN(const auto head, ReadChecked(file, nullptr, 0, nbytes));
  return Crc32(0, head) == sidecar.metadata_crc32;
}

/// Sorts out one file after the other.
class FileSorter {
 public:
  FileSorter(FileSystem& fs, const std::string& directory,
             std::span<const DirectoryEntry> entries)
      : fs_(fs),
        directory_(directory),
        sidecars_(ReadSidecars(fs, directory, entries)) {
    for (const Sidecar& sidecar : sidecars_) {
      for (const SidecarFile& file : sidecar.files) {
        records_[file.name].push_back({.sidecar = &sidecar, .file = &file});
      }
    }
    for (const DirectoryEntry& entry : entries) {
      if (const auto id = TemporaryMetadataSaveIdOf(entry.name)) {
        unpublished_.emplace(*id);
      }
    }
  }

  Status Sort(const std::string& name) {
    const auto records = records_.find(name);
    return records == records_.end() ? Count(name)
                                     : SortListed(name, records->second);
  }

  /// \error kDataLoss  of the files of ranks of one save some are missing
  StatusOr<UnlistedFiles> Finish() && {
    for (const Sidecar* sidecar : of_ranks_) {
      DCP_RETURN_IF_ERROR(RequireAll(*sidecar));
    }
    return std::move(files_);
  }

 private:
  /// What a sidecar says of a file.
  struct Record {
    const Sidecar* sidecar = nullptr;
    const SidecarFile* file = nullptr;
  };

  Status Count(const std::string& name) {
    files_.names.push_back(name);
    return absl::OkStatus();
  }

  Status SortListed(const std::string& name,
                    const std::vector<Record>& records) {
    const std::string path = JoinPath(directory_, name);
    DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         fs_.Open(path, {.beneath = ReadRoot(directory_)}));
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
    const Sidecar* other = nullptr;
    for (const auto& [sidecar, record] : records) {
      if (record->nbytes != nbytes) continue;
      if (IsRankShardName(name) && !unpublished_.contains(sidecar->save_id)) {
        of_ranks_.insert(sidecar);
        return Adopt(*record, *sidecar);
      }
      if (IsNumbered(name)) {
        files_.unpublished.push_back(name);
        return absl::OkStatus();
      }
      DCP_ASSIGN_OR_RETURN(const bool agrees,
                           HasRecordedHead(*file, nbytes, *sidecar));
      if (agrees) return Adopt(*record, *sidecar);
      other = sidecar;
    }
    if (other == nullptr) return Count(name);
    return CorruptionError(
        "what comes before the file's data differs from its "
        "recorded CRC-32" +
            HowToDisown(*other),
        {.op = "verify", .path = path});
  }

  Status Adopt(const SidecarFile& record, const Sidecar& sidecar) {
    adopted_.insert(record.name);
    files_.sidecar.save_id = sidecar.save_id;
    files_.sidecar.files.push_back(record);
    return Count(record.name);
  }

  Status RequireAll(const Sidecar& sidecar) const {
    for (const SidecarFile& file : sidecar.files) {
      if (adopted_.contains(file.name)) continue;
      return CorruptionError(
          "the file of a rank is missing, or has not the " +
              std::to_string(file.nbytes) + " bytes that were written" +
              HowToDisown(sidecar),
          {.op = "verify", .path = JoinPath(directory_, file.name)});
    }
    return absl::OkStatus();
  }

  FileSystem& fs_;
  const std::string& directory_;
  const std::vector<Sidecar> sidecars_;
  std::map<std::string, std::vector<Record>, std::less<>> records_;  // by name
  std::set<std::string, std::less<>> unpublished_;  // saves, by id
  UnlistedFiles files_;
  std::set<std::string_view> adopted_;
  std::set<const Sidecar*> of_ranks_;  // that have adopted files of ranks
};

}  // namespace

StatusOr<std::optional<Sidecar>> SidecarOfIndex(
    FileSystem& file_system, const std::string& directory,
    std::span<const DirectoryEntry> entries, const IndexFile& file) {
  if (!file.index.save_id) {
    DCP_RETURN_IF_ERROR(
        RequireNoTwin(ReadSidecars(file_system, directory, entries), file));
    return std::nullopt;
  }
  DCP_ASSIGN_OR_RETURN(
      SidecarFileContent content,
      ReadSidecarFile(file_system, directory, *file.index.save_id));
  DCP_RETURN_IF_ERROR(CheckMetadataCrc(content.sidecar, file.text, file.path));
  const std::string unlisted = FindUnlisted(file.index, content.sidecar);
  if (!unlisted.empty()) {
    return CorruptionError("its file of checksums does not list " + unlisted,
                           {.op = "verify", .path = file.path});
  }
  return std::move(content.sidecar);
}

StatusOr<UnlistedFiles> SortOutFiles(FileSystem& file_system,
                                     const std::string& directory,
                                     std::span<const DirectoryEntry> entries,
                                     const std::vector<std::string>& names) {
  FileSorter sorter(file_system, directory, entries);
  for (const std::string& name : names) {
    DCP_RETURN_IF_ERROR(sorter.Sort(name));
  }
  return std::move(sorter).Finish();
}

}  // namespace dcp
