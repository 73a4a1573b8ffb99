// A conversion is a save whose source is a reader:
// 1. The plan comes from the metadata alone (conversion_plan.cc).
// 2. A thread reads the tensors in the order of the plan, a few pieces ahead
//    (read_ahead.cc); the writer's threads take them as they fill its blocks.
// 3. The rest is Save's: checks, durability, the commit.

#include "dcp/convert.h"

#include <memory>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/convert_source.h"
#include "checkpoint/save_from.h"
#include "dcp/hugging_face_storage.h"
#include "dcp/torch_file_storage.h"
#include "storage/environment.h"

namespace dcp {
namespace {

/// There are no ranks here for an error to tell of.
Status AsOfOneProcess(const Status& status) {
  const auto failures = GetRankFailures(status);
  if (!failures || failures->by_rank.empty()) return status;
  return failures->by_rank.begin()->second;
}

StatusOr<ConvertResult> ConvertNow(StorageReader& reader, StorageWriter& writer,
                                   Transport& transport,
                                   const ConvertOptions& options) {
  DCP_ASSIGN_OR_RETURN(const CheckpointIndex index, reader.ReadIndex());
  DCP_RETURN_IF_ERROR(reader.SetUp(index, {}));
  reader.ExpectParts();
  DCP_ASSIGN_OR_RETURN(const ConversionPlan plan,
                       PlanConversion(index.metadata, writer, options));
  ConvertSource source(plan, reader, transport, options);
  DCP_RETURN_IF_ERROR(source.Start());
  DCP_RETURN_IF_ERROR(
      AsOfOneProcess(SaveFrom(plan.save, source, writer, transport).status()));
  const auto tensors = static_cast<int64_t>(plan.tensors.size());
  return ConvertResult{
      .tensors = tensors,
      .objects =
          static_cast<int64_t>(index.metadata.entries().size()) - tensors,
      .nbytes = plan.nbytes};
}

/// Whether something is at `path` that is no directory.
StatusOr<bool> IsFile(FileSystem& file_system, const std::string& path) {
  DCP_ASSIGN_OR_RETURN(const bool exists, file_system.Exists(path));
  return exists && !file_system.List(path).ok();
}

std::unique_ptr<StorageWriter> MakeWriter(const ConvertPaths& paths,
                                          const StorageEnvironment& seams) {
  switch (paths.format.value_or(GuessCheckpointFormat(paths.destination))) {
    case CheckpointFormat::kTorch:
      return MakeTorchFileWriter({.path = paths.destination, .io = paths.io},
                                 seams);
    case CheckpointFormat::kDcp:
      break;
  }
  return MakeFileSystemWriter({.path = paths.destination, .io = paths.io},
                              seams);
}

}  // namespace

StatusOr<ConvertResult> Convert(StorageReader& reader, StorageWriter& writer,
                                Transport& transport,
                                const ConvertOptions& options) {
  return Guarded(
      [&] { return ConvertNow(reader, writer, transport, options); });
}

CheckpointFormat GuessCheckpointFormat(std::string_view path) {
  for (const std::string_view suffix : {".pt", ".pth", ".bin"}) {
    if (path.ends_with(suffix)) return CheckpointFormat::kTorch;
  }
  return CheckpointFormat::kDcp;
}

StatusOr<ConvertResult> Convert(const ConvertPaths& paths, Transport& transport,
                                const ConvertOptions& options,
                                StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<ConvertResult> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    FileSystem& file_system = *seams.file_system;
    if (file_system.Absolute(paths.source) ==
        file_system.Absolute(paths.destination)) {
      return InvalidArgument("the source and the destination are the same: " +
                             paths.source);
    }
    DCP_ASSIGN_OR_RETURN(const bool is_file, IsFile(file_system, paths.source));
    if (is_file && paths.source.ends_with(".safetensors")) {
      return InvalidArgument(
          paths.source + " is one file of a checkpoint; name its directory");
    }
    const std::unique_ptr<StorageReader> reader =
        is_file
            ? MakeTorchFileReader({.path = paths.source, .io = paths.io}, seams)
            : MakeReaderByContent({.path = paths.source, .io = paths.io},
                                  seams);
    const auto writer = MakeWriter(paths, seams);
    return Convert(*reader, *writer, transport, options);
  });
}

}  // namespace dcp
