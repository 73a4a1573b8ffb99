#include "checkpoint/opened_path.h"

#include <functional>
#include <utility>

#include "checkpoint/no_checkpoint.h"
#include "dcp/hugging_face_storage.h"
#include "dcp/plan.h"
#include "dcp/torch_file_storage.h"
#include "io/paths.h"
#include "storage/hugging_face_reader.h"

namespace dcp {
namespace {

std::unique_ptr<StorageReader> MakeFileReader(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment) {
  if (!path.ends_with(".safetensors")) {
    return MakeTorchFileReader({.path = path, .io = io}, environment);
  }
  const std::string absolute = environment.file_system->Absolute(path);
  return MakeHuggingFaceReader(
      {.path = ParentPath(absolute), .only_file = LastName(absolute), .io = io},
      environment);
}

CheckpointFormat FormatOf(const CheckpointIndex& index, bool is_file) {
  if (IsSafetensors(index)) return CheckpointFormat::kSafetensors;
  return is_file ? CheckpointFormat::kTorch : CheckpointFormat::kDcp;
}

/// What `read` finds with the reader for `path`.
StatusOr<std::unique_ptr<OpenedPath>> Open(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment,
    const std::function<StatusOr<CheckpointIndex>(StorageReader&)>& read) {
  DCP_ASSIGN_OR_RETURN(const bool is_file,
                       IsFile(*environment.file_system, path));
  auto opened = std::make_unique<OpenedPath>();
  opened->reader =
      is_file ? MakeFileReader(path, io, environment)
              : MakeReaderByContent({.path = path, .io = io}, environment);
  StatusOr<CheckpointIndex> index = read(*opened->reader);
  DCP_RETURN_IF_ERROR(
      ExplainNotFound(*environment.file_system, path, index.status()));
  opened->index = *std::move(index);
  opened->format = FormatOf(opened->index, is_file);
  return opened;
}

}  // namespace

StatusOr<bool> IsFile(FileSystem& file_system, const std::string& path) {
  DCP_ASSIGN_OR_RETURN(const bool exists, file_system.Exists(path));
  if (!exists) return false;
  const Status listed = file_system.List(path).status();
  if (listed.code() == absl::StatusCode::kNotFound) return true;
  DCP_RETURN_IF_ERROR(listed);
  return false;
}

StatusOr<std::unique_ptr<OpenedPath>> OpenPath(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment) {
  return Open(path, io, environment,
              [](StorageReader& reader) { return reader.ReadIndex(); });
}

StatusOr<std::unique_ptr<OpenedPath>> OpenToLook(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment) {
  return Open(path, io, environment, [](StorageReader& reader) {
    auto* const outlining = dynamic_cast<OutlineReader*>(&reader);
    return outlining != nullptr ? outlining->ReadIndexWithoutPaths()
                                : reader.ReadIndex();
  });
}

StatusOr<std::optional<BoundIndex>> OpenIndexAt(
    const std::string& path, const IoOptions& io,
    const StorageEnvironment& environment) {
  DCP_ASSIGN_OR_RETURN(const bool is_file,
                       IsFile(*environment.file_system, path));
  if (is_file) return std::optional<BoundIndex>();
  const auto reader =
      MakeReaderByContent({.path = path, .io = io}, environment);
  return dynamic_cast<OutlineReader&>(*reader).OpenIndex();
}

Status PrepareToRead(OpenedPath& opened) {
  const Status valid =
      ValidateChunks(opened.index.metadata, CoverageRule::kRequireFull);
  if (!valid.ok()) return DataLoss(Message(valid));
  DCP_RETURN_IF_ERROR(opened.reader->SetUp(opened.index, {}));
  opened.reader->ExpectParts();
  return absl::OkStatus();
}

}  // namespace dcp
