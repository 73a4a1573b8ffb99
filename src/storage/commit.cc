#include "storage/commit.h"

#include "format/file_names.h"

namespace dcp {
namespace {

Status SyncNames(FileSystem& fs, const CommitRequest& request) {
  if (request.sync == SyncMode::kNone || !fs.traits().directory_sync) {
    return absl::OkStatus();
  }
  return fs.SyncDirectory(request.directory);
}

Status WriteBeside(FileSystem& fs, const CommitRequest& request,
                   const std::string& name, std::string_view bytes,
                   CommitProgress* progress) {
  DCP_RETURN_IF_ERROR(
      WriteFile(fs, JoinPath(request.directory, name), bytes, request.sync));
  progress->created.push_back(name);
  return absl::OkStatus();
}

}  // namespace

Status Commit(FileSystem& fs, const CommitRequest& request,
              CommitProgress* progress) {
  const std::string target = JoinPath(request.directory, request.metadata_name);
  if (!request.index.empty()) {
    DCP_RETURN_IF_ERROR(WriteBeside(fs, request,
                                    IndexedMetadataName(request.save_id),
                                    request.index, progress));
  }
  if (!request.sidecar.empty()) {
    DCP_RETURN_IF_ERROR(WriteBeside(fs, request, SidecarName(request.save_id),
                                    request.sidecar, progress));
  }
  if (!fs.traits().atomic_rename) {
    progress->attempted = true;
    return ReplaceFile(fs, target, request.metadata, request.sync);
  }
  const std::string temporary_name = TemporaryMetadataName(request.save_id);
  const std::string temporary = JoinPath(request.directory, temporary_name);
  DCP_RETURN_IF_ERROR(
      WriteBeside(fs, request, temporary_name, request.metadata, progress));
  // Everything that the metadata names is durable before it can be seen.
  DCP_RETURN_IF_ERROR(SyncNames(fs, request));
  progress->attempted = true;
  DCP_RETURN_IF_ERROR(fs.Rename(temporary, target));
  return SyncNames(fs, request);
}

void RemoveFiles(FileSystem& fs, const std::string& directory,
                 const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    fs.Remove(JoinPath(directory, name)).IgnoreError();
  }
}

}  // namespace dcp
