// A conversion is a save whose source is a reader:
// 1. A mapping is between the reader and all that follows (mapped_reader.cc).
// 2. The plan comes from the metadata alone (conversion_plan.cc), and is fitted
//    to what safetensors files ask for (safetensors_plan.cc).
// 3. A thread reads the tensors in the order of the plan, a few pieces ahead
//    (read_ahead.cc); the writer's threads take them as they fill its blocks.
// 4. The rest is Save's: checks, durability, the commit.

#include "dcp/convert.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/guarded.h"
#include "base/wire.h"
#include "checkpoint/convert_source.h"
#include "checkpoint/mapped_reader.h"
#include "checkpoint/no_checkpoint.h"
#include "checkpoint/opened_path.h"
#include "checkpoint/rank_exchange.h"
#include "checkpoint/safetensors_plan.h"
#include "checkpoint/save_from.h"
#include "dcp/hugging_face_storage.h"
#include "dcp/torch_file_storage.h"
#include "format/file_names.h"
#include "storage/environment.h"
#include "storage/hugging_face_directory.h"
#include "storage/hugging_face_writer.h"

namespace dcp {
namespace {

constexpr std::string_view kSafetensorsSuffix = ".safetensors";

/// There are no ranks here for an error to tell of.
Status AsOfOneProcess(const Status& status) {
  const auto failures = GetRankFailures(status);
  if (!failures || failures->by_rank.empty()) return status;
  return failures->by_rank.begin()->second;
}

/// Gives the writer for what has this metadata; it outlives the conversion.
using WriterFor = std::function<StorageWriter&(const Metadata&)>;

/// `transport` may be of several ranks: then this one converts alone, and is
/// told when it is to stop. Without a mapping.
StatusOr<ConvertResult> ConvertPlain(StorageReader& reader,
                                     const WriterFor& writer_for,
                                     Transport& transport,
                                     const ConvertOptions& options) {
  DCP_ASSIGN_OR_RETURN(const CheckpointIndex index, reader.ReadIndex());
  StorageWriter& writer = writer_for(index.metadata);
  DCP_RETURN_IF_ERROR(reader.SetUp(index, {}));
  reader.ExpectParts();
  DCP_ASSIGN_OR_RETURN(ConversionPlan plan,
                       PlanConversion(index.metadata, writer, options));
  if (const auto* const hf = dynamic_cast<HuggingFaceWriter*>(&writer)) {
    DCP_RETURN_IF_ERROR(FitToSafetensors(index, hf->options(), &plan));
  }
  ConvertSource source(plan, reader, transport, options);
  DCP_RETURN_IF_ERROR(source.Start());
  const auto alone = MakeSingleProcessTransport();
  Transport& saving = transport.world_size() == 1 ? transport : *alone;
  DCP_RETURN_IF_ERROR(
      AsOfOneProcess(SaveFrom(plan.save, source, writer, saving).status()));
  const auto objects = std::count_if(
      plan.save.items.begin(), plan.save.items.end(),
      [](const WriteItem& i) { return i.type == WriteItemType::kByteIo; });
  return ConvertResult{.tensors = std::ssize(plan.tensors),
                       .objects = objects,
                       .nbytes = plan.nbytes};
}

StatusOr<ConvertResult> ConvertNow(StorageReader& reader,
                                   const WriterFor& writer_for,
                                   Transport& transport,
                                   const ConvertOptions& options) {
  if (!options.mapping) {
    return ConvertPlain(reader, writer_for, transport, options);
  }
  MappedReader mapped(reader, *options.mapping, options.rename);
  return ConvertPlain(mapped, writer_for, transport,
                      {.dtype = options.dtype, .progress = options.progress});
}

Status CheckPaths(const ConvertPaths& paths, FileSystem& file_system,
                  bool source_is_file) {
  if (file_system.Absolute(paths.source) ==
      file_system.Absolute(paths.destination)) {
    return InvalidArgument("the source and the destination are the same: " +
                           paths.source);
  }
  if (source_is_file && paths.source.ends_with(kSafetensorsSuffix)) {
    return InvalidArgument(paths.source +
                           " is one file of a checkpoint; name its directory");
  }
  if (paths.destination.ends_with(kSafetensorsSuffix)) {
    return InvalidArgument(
        "safetensors are written into a directory, as model.safetensors; name "
        "that, not " +
        paths.destination);
  }
  return absl::OkStatus();
}

/// What the names of safetensors files begin with.
std::string StemOfFiles(const ConvertOptions& options) {
  const bool is_mapped =
      options.mapping &&
      options.mapping->options.direction == MappingDirection::kToHuggingFace;
  const std::string stem =
      is_mapped ? options.mapping->mapping.file_stem() : "";
  return stem.empty() ? HuggingFaceWriterOptions().file_stem : stem;
}

std::unique_ptr<StorageWriter> MakeWriter(const ConvertPaths& paths,
                                          const std::string& file_stem,
                                          const StorageEnvironment& seams) {
  switch (paths.format.value_or(GuessCheckpointFormat(paths.destination))) {
    case CheckpointFormat::kTorch:
      return MakeTorchFileWriter({.path = paths.destination, .io = paths.io},
                                 seams);
    case CheckpointFormat::kSafetensors:
      return MakeHuggingFaceWriter({.path = paths.destination,
                                    .file_numbers = paths.file_numbers,
                                    .max_shard_nbytes = paths.max_shard_nbytes,
                                    .file_stem = file_stem,
                                    .io = paths.io},
                                   seams);
    case CheckpointFormat::kDcp:
      break;
  }
  return MakeFileSystemWriter({.path = paths.destination, .io = paths.io},
                              seams);
}

/// Whether `directory` holds safetensors files and nothing of the native
/// format.
bool HoldsSafetensors(FileSystem& file_system, const std::string& directory) {
  const auto entries = file_system.List(directory);
  return entries.ok() && HasSafetensors(*entries) &&
         std::none_of(entries->begin(), entries->end(),
                      [](const DirectoryEntry& entry) {
                        return entry.name == kMetadataFileName;
                      });
}

/// Sets in `*options` whether quantized weights are read as floats.
std::unique_ptr<StorageReader> MakeReader(const ConvertPaths& paths,
                                          bool source_is_file,
                                          const StorageEnvironment& seams,
                                          ConvertOptions* options) {
  if (source_is_file) {
    return MakeTorchFileReader({.path = paths.source, .io = paths.io}, seams);
  }
  if (options->mapping && options->mapping->mapping.dequantizes() &&
      options->mapping->options.direction == MappingDirection::kToNative &&
      HoldsSafetensors(*seams.file_system, paths.source)) {
    options->mapping->options.is_dequantized = true;
    return MakeHuggingFaceReader({.path = paths.source,
                                  .dequantize = DequantizeOptions(),
                                  .io = paths.io},
                                 seams);
  }
  return MakeReaderByContent({.path = paths.source, .io = paths.io}, seams);
}

/// `paths` without numbers of files for what `metadata` has not; without any if
/// it has what they leave out: then they are of another version of the model.
ConvertPaths Numbered(ConvertPaths paths, const Metadata& metadata) {
  const bool has_all = std::all_of(
      metadata.entries().begin(), metadata.entries().end(),
      [&](const auto& e) { return paths.file_numbers.contains(e.first); });
  if (!has_all) {
    paths.file_numbers.clear();
    return paths;
  }
  std::erase_if(paths.file_numbers, [&](const auto& number) {
    return metadata.FindTensor(number.first) == nullptr;
  });
  return paths;
}

StatusOr<ConvertResult> ConvertPathsNow(const ConvertPaths& paths,
                                        Transport& transport,
                                        ConvertOptions options,
                                        const StorageEnvironment& seams) {
  FileSystem& file_system = *seams.file_system;
  DCP_ASSIGN_OR_RETURN(const bool is_file, IsFile(file_system, paths.source));
  DCP_RETURN_IF_ERROR(CheckPaths(paths, file_system, is_file));
  const auto reader = MakeReader(paths, is_file, seams, &options);
  std::unique_ptr<StorageWriter> writer;
  const WriterFor writer_for = [&](const Metadata& metadata) -> StorageWriter& {
    writer = MakeWriter(options.mapping ? Numbered(paths, metadata) : paths,
                        StemOfFiles(options), seams);
    return *writer;
  };
  auto result = ConvertNow(*reader, writer_for, transport, options);
  DCP_RETURN_IF_ERROR(
      ExplainNotFound(file_system, paths.source, result.status()));
  return result;
}

std::string SerializeResult(const ConvertResult& result) {
  WireWriter out;
  out.PutSigned(result.tensors);
  out.PutSigned(result.objects);
  out.PutSigned(result.nbytes);
  return std::move(out).Take();
}

StatusOr<ConvertResult> ParseResult(std::string_view data) {
  WireReader in(data, "the result of a conversion");
  ConvertResult result{.tensors = in.Signed()};
  result.objects = in.Signed();
  result.nbytes = in.Signed();
  DCP_RETURN_IF_ERROR(in.Finish());
  return result;
}

/// What `convert` gives on the coordinator, which alone runs it.
StatusOr<ConvertResult> OnCoordinator(
    Transport& transport,
    const std::function<StatusOr<ConvertResult>()>& convert) {
  StatusOr<ConvertResult> result = ConvertResult();
  if (transport.rank() == transport.coordinator()) result = Guarded(convert);
  if (WasInterrupted(result.status())) return result;
  DCP_RETURN_IF_ERROR(transport.AwaitAll("convert"));
  DCP_ASSIGN_OR_RETURN(
      const std::string told,
      BroadcastFrom(transport, "write", [&]() -> StatusOr<std::string> {
        DCP_RETURN_IF_ERROR(result.status());
        return SerializeResult(*result);
      }));
  return ParseResult(told);
}

}  // namespace

StatusOr<ConvertResult> Convert(StorageReader& reader, StorageWriter& writer,
                                Transport& transport,
                                const ConvertOptions& options) {
  return Guarded([&] {
    return ConvertNow(
        reader, [&](const Metadata&) -> StorageWriter& { return writer; },
        transport, options);
  });
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
    const auto convert = [&] {
      return ConvertPathsNow(paths, transport, options, seams);
    };
    if (transport.world_size() == 1) return convert();
    return OnCoordinator(transport, convert);
  });
}

}  // namespace dcp
