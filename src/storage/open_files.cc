#include "storage/open_files.h"

#include <utility>

#include "io/paths.h"
#include "storage/read_root.h"

namespace dcp {

OpenFiles::OpenFiles(FileSystem& file_system, std::string directory,
                     DirectIo direct_io, const Sidecar& sidecar)
    : file_system_(file_system),
      directory_(std::move(directory)),
      root_(ReadRoot(directory_)),
      direct_io_(direct_io) {
  for (const SidecarFile& record : sidecar.files) {
    records_.emplace(record.name, &record);
  }
}

StatusOr<OpenFile*> OpenFiles::Open(const std::string& relative_path,
                                    const MetadataIndex& index) {
  OpenFile& file = files_[relative_path];
  if (file.file == nullptr) {
    DCP_RETURN_IF_ERROR(
        Annotate(OpenInto(relative_path, &file), "reading " + ToString(index)));
  }
  return &file;
}

const OpenFile* OpenFiles::Find(const std::string& relative_path) const {
  const auto found = files_.find(relative_path);
  const bool is_open = found != files_.end() && found->second.file != nullptr;
  return is_open ? &found->second : nullptr;
}

StatusOr<OpenFile*> OpenFiles::Get(const StoredItem& item) {
  const StorageInfo& info = item.info;
  DCP_ASSIGN_OR_RETURN(OpenFile * file, Open(info.relative_path, item.index));
  if (info.offset < 0 || info.length < 0 ||
      info.offset > file->nbytes - info.length) {
    return ItemCorruption("the file ends at byte " +
                              std::to_string(file->nbytes) + ", before an item",
                          item);
  }
  return file;
}

Status OpenFiles::OpenInto(const std::string& relative_path, OpenFile* file) {
  DCP_RETURN_IF_ERROR(ValidateRelativePath(relative_path));
  DCP_ASSIGN_OR_RETURN(
      auto opened,
      file_system_.Open(JoinPath(directory_, relative_path),
                        {.direct_io = direct_io_, .beneath = root_}));
  DCP_ASSIGN_OR_RETURN(file->nbytes, opened->Size());
  const auto record = records_.find(relative_path);
  if (record != records_.end()) {
    if (record->second->nbytes != file->nbytes) {
      return CorruptionError(
          "the file has " + std::to_string(file->nbytes) + " bytes, " +
              std::to_string(record->second->nbytes) + " were written",
          {.op = "open", .path = opened->path()});
    }
    file->record = record->second;
  }
  file->file = std::move(opened);
  return absl::OkStatus();
}

}  // namespace dcp
