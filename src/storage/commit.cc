#include "storage/commit.h"

#include <cerrno>
#include <cstdint>
#include <string>

#include "format/file_names.h"
#include "storage/limits.h"

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

Status CheckNbytes(std::string_view what, std::string_view bytes,
                   int64_t most) {
  if (bytes.size() <= static_cast<size_t>(most)) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kResourceExhausted,
                    std::string(what) + " of this checkpoint would have " +
                        std::to_string(bytes.size()) + " B, and loads read " +
                        std::to_string(most) +
                        " B at most: save fewer or larger tensors, or in "
                        "several checkpoints");
}

/// What no load could read is not published, so that what is there stays.
Status CheckReadable(const CommitRequest& request) {
  DCP_RETURN_IF_ERROR(
      CheckNbytes("the metadata", request.metadata, kMaxMetadataNbytes));
  DCP_RETURN_IF_ERROR(CheckNbytes("the indexed metadata", request.index,
                                  kMaxIndexedMetadataNbytes));
  return CheckNbytes("the file of checksums", request.sidecar,
                     kMaxSidecarNbytes);
}

}  // namespace

Status CommitProgress::Attempt(absl::FunctionRef<Status()> publish) {
  attempted = true;
  Status published = publish();
  const auto detail = GetErrorDetail(published);
  const int error = detail ? detail->error_number : 0;
  attempted = error != EACCES && error != EPERM && error != EROFS;
  return published;
}

Status Commit(FileSystem& fs, const CommitRequest& request,
              CommitProgress* progress) {
  DCP_RETURN_IF_ERROR(CheckReadable(request));
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
  DCP_RETURN_IF_ERROR(
      progress->Attempt([&] { return fs.Rename(temporary, target); }));
  return SyncNames(fs, request);
}

Status RemoveFiles(FileSystem& fs, const std::string& directory,
                   const std::vector<std::string>& names) {
  Status status;
  for (const std::string& name : names) {
    const Status removed = fs.Remove(JoinPath(directory, name));
    if (removed.code() != absl::StatusCode::kNotFound) status.Update(removed);
  }
  return status;
}

}  // namespace dcp
