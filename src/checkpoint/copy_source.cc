#include "checkpoint/copy_source.h"

#include <map>
#include <string_view>
#include <utility>

#include "checkpoint/opened_path.h"
#include "dcp/metadata_codec.h"
#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "io/paths.h"
#include "storage/hugging_face_directory.h"
#include "storage/indexed_file.h"
#include "storage/leftovers.h"
#include "storage/metadata_file.h"
#include "storage/read_root.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

constexpr std::string_view kIndexSuffix = ".safetensors.index.json";

/// Of a save of ours, or a mark of somebody who works with the checkpoint.
bool IsOfOurs(std::string_view name) {
  return name.starts_with(".dcpcpp") || CouldBeOurs(name) ||
         name == kMetadataFileName || ParseRankMetadataFileName(name);
}

Status Replaced(const CopySource& source, const std::string& name) {
  return MakeStatus(absl::StatusCode::kAborted,
                    "the checkpoint in " + source.directory +
                        " was replaced while it was copied (" + name +
                        " is another one now); copy it again");
}

class SourceReader {
 public:
  SourceReader(FileSystem& file_system, std::string directory)
      : file_system_(file_system) {
    source_.directory = std::move(directory);
  }

  StatusOr<CopySource> Read(CheckpointFormat format) && {
    source_.format = format;
    DCP_ASSIGN_OR_RETURN(const auto entries,
                         file_system_.List(source_.directory));
    DCP_RETURN_IF_ERROR(format == CheckpointFormat::kDcp
                            ? ReadNative()
                            : ReadSafetensors(entries));
    ListDataFiles();
    for (const DirectoryEntry& entry : entries) {
      if (entry.kind != FileKind::kFile || IsOfOurs(entry.name)) continue;
      if (data_.contains(entry.name)) continue;
      if (entry.name == source_.commit_name) continue;
      DCP_RETURN_IF_ERROR(AddFileBeside(entry.name));
    }
    DCP_RETURN_IF_ERROR(AddDataFiles());
    return std::move(source_);
  }

 private:
  Status ReadNative() {
    const std::string& directory = source_.directory;
    source_.commit_name = kMetadataFileName;
    DCP_ASSIGN_OR_RETURN(
        source_.commit_bytes,
        ReadMetadataFile(file_system_, directory, source_.commit_name));
    const std::string path = JoinPath(directory, source_.commit_name);
    auto metadata = ParseMetadata(source_.commit_bytes);
    if (!metadata.ok()) return Annotate(metadata.status(), path);
    source_.metadata = *std::move(metadata);
    const std::string_view save_id = DcpcppSaveIdOf(source_.metadata);
    if (save_id.empty()) return absl::OkStatus();
    DCP_RETURN_IF_ERROR(ReadSidecar(save_id));
    DCP_RETURN_IF_ERROR(
        CheckMetadataCrc(source_.sidecar, source_.commit_bytes, path));
    if (!source_.sidecar.index) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(
        source_.index_bytes,
        ReadIndexedFile(file_system_, directory, source_.sidecar));
    return absl::OkStatus();
  }

  Status ReadSafetensors(const std::vector<DirectoryEntry>& entries) {
    const std::string& directory = source_.directory;
    DCP_ASSIGN_OR_RETURN(const auto index,
                         ChooseSafetensorsIndex(entries, directory));
    if (index) {
      source_.commit_name = *index;
      DCP_ASSIGN_OR_RETURN(source_.commit_bytes,
                           ReadFile(file_system_, JoinPath(directory, *index),
                                    int64_t{kMaxSafetensorsIndexNbytes},
                                    {.beneath = ReadRoot(directory)}));
    }
    DCP_ASSIGN_OR_RETURN(
        HuggingFaceCheckpoint checkpoint,
        ReadHuggingFaceDirectory(file_system_, directory, SidecarUse::kFind));
    source_.metadata = std::move(checkpoint.metadata);
    if (checkpoint.sidecar.save_id.empty()) return absl::OkStatus();
    return ReadSidecar(checkpoint.sidecar.save_id);
  }

  Status ReadSidecar(std::string_view save_id) {
    DCP_ASSIGN_OR_RETURN(
        SidecarFileContent content,
        ReadSidecarFile(file_system_, source_.directory, save_id));
    source_.sidecar = std::move(content.sidecar);
    source_.sidecar_bytes = std::move(content.bytes);
    return absl::OkStatus();
  }

  void ListDataFiles() {
    for (const auto& [index, info] : source_.metadata.storage_data) {
      data_.emplace(info.relative_path, nullptr);
    }
    for (const SidecarFile& file : source_.sidecar.files) {
      data_[file.name] = &file;
    }
  }

  Status AddDataFiles() {
    for (const auto& [name, record] : data_) {
      DCP_RETURN_IF_ERROR(RequirePlain(std::string(name)));
      DCP_RETURN_IF_ERROR(AddFile(
          {.name = std::string(name), .is_data = true, .record = record}));
    }
    return absl::OkStatus();
  }

  Status AddFileBeside(const std::string& name) {
    // A copy that is killed would leave them without the index, as if they were
    // the checkpoint.
    if (IsOfSafetensors(name)) {
      source_.not_copied.push_back({name, "the checkpoint does not name it"});
      return absl::OkStatus();
    }
    Status added = AddFile({.name = name});
    if (added.code() != absl::StatusCode::kInvalidArgument) return added;
    source_.not_copied.push_back({name, std::string(Message(added))});
    return absl::OkStatus();
  }

  /// `name` came with the checkpoint.
  Status RequirePlain(const std::string& name) const {
    DCP_RETURN_IF_ERROR(ValidateRelativePath(name));
    if (name.find('/') != name.npos) {
      return Unimplemented("the file " + name + " of the checkpoint in " +
                           source_.directory +
                           " lies in a sub-directory; such checkpoints are not "
                           "copied");
    }
    if (name.starts_with(".dcpcpp") || name == source_.commit_name) {
      return DataLoss("the metadata of " + source_.directory + " names " +
                      name + " as a file with data");
    }
    return absl::OkStatus();
  }

  Status AddFile(FileToCopy file) {
    DCP_ASSIGN_OR_RETURN(
        const auto opened,
        file_system_.Open(JoinPath(source_.directory, file.name),
                          {.beneath = ReadRoot(source_.directory)}));
    DCP_ASSIGN_OR_RETURN(file.nbytes, opened->Size());
    if (file.record != nullptr && file.record->nbytes != file.nbytes) {
      return CorruptionError(
          "the file has " + std::to_string(file.nbytes) + " bytes, " +
              std::to_string(file.record->nbytes) + " were written",
          {.op = "open", .path = opened->path()});
    }
    if (file.record == nullptr) {
      DCP_ASSIGN_OR_RETURN(file.identity, IdentityOf(*opened));
      file.nbytes = file.identity.nbytes;  // it may grow just now
    }
    source_.nbytes += file.nbytes;
    source_.files.push_back(std::move(file));
    return absl::OkStatus();
  }

  FileSystem& file_system_;
  CopySource source_;
  std::map<std::string_view, const SidecarFile*> data_;  // by name
};

Status RequireSameCommitFile(FileSystem& file_system,
                             const CopySource& source) {
  if (source.commit_name.empty()) return absl::OkStatus();
  const auto now = ReadMetadataBytes(
      file_system, JoinPath(source.directory, source.commit_name),
      {.beneath = ReadRoot(source.directory)});
  if (now.status().code() == absl::StatusCode::kNotFound) {
    return Replaced(source, source.commit_name);
  }
  DCP_RETURN_IF_ERROR(now.status());
  return *now == source.commit_bytes ? absl::OkStatus()
                                     : Replaced(source, source.commit_name);
}

}  // namespace

bool IsOfSafetensors(std::string_view name) {
  return name.ends_with(".safetensors") || name.ends_with(kIndexSuffix);
}

bool CopySource::ends_by_file() const {
  const auto& written = sidecar.files;
  return has_index() || (!written.empty() && IsRankShardName(written[0].name));
}

StatusOr<CopySource> ReadCopySource(const std::string& directory,
                                    const IoOptions& io,
                                    const StorageEnvironment& environment) {
  FileSystem& file_system = *environment.file_system;
  DCP_ASSIGN_OR_RETURN(const bool is_file, IsFile(file_system, directory));
  if (is_file) {
    return InvalidArgument(directory +
                           " is a file; checkpoints are copied as directories");
  }
  // Finds the format, and says what is wrong with a directory of none or both.
  DCP_ASSIGN_OR_RETURN(const auto opened, OpenPath(directory, io, environment));
  return SourceReader(file_system, directory).Read(opened->format);
}

StatusOr<std::unique_ptr<File>> OpenToCopy(FileSystem& file_system,
                                           const CopySource& source,
                                           const FileToCopy& file) {
  auto opened = file_system.Open(JoinPath(source.directory, file.name),
                                 {.beneath = ReadRoot(source.directory)});
  if (!opened.ok() || file.record != nullptr) return opened;
  DCP_ASSIGN_OR_RETURN(const FileIdentity now, IdentityOf(**opened));
  if (now == file.identity) return opened;
  // Somebody's log beside the checkpoint is copied as it was at the start.
  bool is_whole = false;
  if (!file.is_data) {
    DCP_ASSIGN_OR_RETURN(is_whole, HasOnlyGrown(**opened, file.identity));
  }
  if (!is_whole) return Replaced(source, file.name);
  return opened;
}

Status RequireUnchanged(FileSystem& file_system, const CopySource& source) {
  DCP_RETURN_IF_ERROR(RequireSameCommitFile(file_system, source));
  for (const FileToCopy& file : source.files) {
    if (file.record != nullptr) continue;
    const Status opened = OpenToCopy(file_system, source, file).status();
    if (opened.code() == absl::StatusCode::kNotFound) {
      return Replaced(source, file.name);
    }
    DCP_RETURN_IF_ERROR(opened);
  }
  return absl::OkStatus();
}

}  // namespace dcp
