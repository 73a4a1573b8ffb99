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

}  // namespace

Status Commit(FileSystem& fs, const CommitRequest& request,
              CommitProgress* progress) {
  const std::string sidecar_name = SidecarName(request.save_id);
  const std::string target = JoinPath(request.directory, request.metadata_name);
  if (!request.sidecar.empty()) {
    DCP_RETURN_IF_ERROR(WriteFile(fs, JoinPath(request.directory, sidecar_name),
                                  request.sidecar, request.sync));
    progress->created.push_back(sidecar_name);
  }
  if (!fs.traits().atomic_rename) {
    progress->attempted = true;
    return ReplaceFile(fs, target, request.metadata, request.sync);
  }
  const std::string temporary_name = TemporaryMetadataName(request.save_id);
  const std::string temporary = JoinPath(request.directory, temporary_name);
  DCP_RETURN_IF_ERROR(WriteFile(fs, temporary, request.metadata, request.sync));
  progress->created.push_back(temporary_name);
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
