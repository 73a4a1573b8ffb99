#include "storage/hugging_face_manifest.h"

#include <algorithm>
#include <cstdint>
#include <memory>
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
             std::vector<Sidecar> sidecars)
      : fs_(fs), directory_(directory), sidecars_(std::move(sidecars)) {}

  Status Sort(const std::string& name) {
    const bool is_listed = std::any_of(
        sidecars_.begin(), sidecars_.end(),
        [&](const auto& sidecar) { return FindFile(sidecar, name); });
    return is_listed ? SortListed(name) : Count(name);
  }

  UnlistedFiles Take() && { return std::move(files_); }

 private:
  Status Count(const std::string& name) {
    files_.names.push_back(name);
    return absl::OkStatus();
  }

  Status SortListed(const std::string& name) {
    const std::string path = JoinPath(directory_, name);
    DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         fs_.Open(path, {.beneath = ReadRoot(directory_)}));
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
    const Sidecar* other = nullptr;
    for (const Sidecar& sidecar : sidecars_) {
      const SidecarFile* record = FindFile(sidecar, name);
      if (record == nullptr || record->nbytes != nbytes) continue;
      if (IsNumbered(name)) {
        files_.unpublished.push_back(name);
        return absl::OkStatus();
      }
      DCP_ASSIGN_OR_RETURN(const bool agrees,
                           HasRecordedHead(*file, nbytes, sidecar));
      if (agrees) return Adopt(*record, sidecar);
      other = &sidecar;
    }
    if (other == nullptr) return Count(name);
    return CorruptionError(
        "what comes before the file's data differs from its "
        "recorded CRC-32" +
            HowToDisown(*other),
        {.op = "verify", .path = path});
  }

  Status Adopt(const SidecarFile& record, const Sidecar& sidecar) {
    files_.sidecar.save_id = sidecar.save_id;
    files_.sidecar.files.push_back(record);
    return Count(record.name);
  }

  FileSystem& fs_;
  const std::string& directory_;
  const std::vector<Sidecar> sidecars_;
  UnlistedFiles files_;
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
  FileSorter sorter(file_system, directory,
                    ReadSidecars(file_system, directory, entries));
  for (const std::string& name : names) {
    DCP_RETURN_IF_ERROR(sorter.Sort(name));
  }
  return std::move(sorter).Take();
}

}  // namespace dcp
