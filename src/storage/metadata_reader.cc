#include "storage/metadata_reader.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "dcp/metadata_codec.h"
#include "format/file_names.h"
#include "format/metadata_parser.h"
#include "storage/indexed_file.h"
#include "storage/metadata_file.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

/// How a file ends.
struct FileEnd {
  int64_t nbytes = 0;  ///< of the file
  std::string tail;    ///< its last bytes, kSaveIdTailNbytes at most
};

/// The end of the `.metadata` in `directory`.
StatusOr<FileEnd> ReadEnd(FileSystem& file_system,
                          const std::string& directory) {
  DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                       file_system.Open(JoinPath(directory, kMetadataFileName),
                                        {.beneath = ReadRoot(directory)}));
  FileEnd end;
  DCP_ASSIGN_OR_RETURN(end.nbytes, file->Size());
  end.tail.resize(std::min(static_cast<size_t>(end.nbytes), kSaveIdTailNbytes));
  const IoSlice slice{
      .data = std::as_writable_bytes(std::span(end.tail)).data(),
      .nbytes = end.tail.size()};
  DCP_RETURN_IF_ERROR(
      file->ReadFully(end.nbytes - std::ssize(end.tail), {&slice, 1}));
  return end;
}

}  // namespace

StatusOr<CheckpointIndex> MetadataReader::ReadWhole(const std::string& name) {
  DCP_ASSIGN_OR_RETURN(CheckpointOutline whole, Read(name, Extent::kWhole));
  return std::move(whole.index);
}

StatusOr<CheckpointIndex> MetadataReader::ReadWithoutPaths() {
  DCP_ASSIGN_OR_RETURN(
      CheckpointOutline whole,
      Read(std::string(kMetadataFileName), Extent::kWithoutPaths));
  return std::move(whole.index);
}

StatusOr<CheckpointOutline> MetadataReader::ReadOutline() {
  return Read(std::string(kMetadataFileName), Extent::kOutline);
}

StatusOr<CheckpointOutline> MetadataReader::Read(const std::string& name,
                                                 Extent extent) {
  const std::string path = JoinPath(directory_, name);
  const auto read_pickle = [&] {
    return ReadMetadataFile(file_system_, directory_, name);
  };
  DCP_ASSIGN_OR_RETURN(const std::string pickle, read_pickle());
  StatusOr<CheckpointOutline> parsed = Parse({pickle, path}, extent);
  if (parsed.status().code() != absl::StatusCode::kDataLoss) return parsed;
  // A save that replaced the checkpoint meanwhile has removed its sidecar.
  const StatusOr<std::string> again = read_pickle();
  return again.ok() && *again != pickle ? Parse({*again, path}, extent)
                                        : parsed;
}

StatusOr<CheckpointOutline> MetadataReader::Parse(const MetadataBytes& file,
                                                  Extent extent) {
  if (extent != Extent::kOutline) return ParseWhole(file, extent);
  StatusOr<std::optional<CheckpointOutline>> outline = Outline(file);
  if (!outline.ok()) {
    if (verify_) return outline.status();
  } else if (std::optional<CheckpointOutline>& found = *outline; found) {
    return *std::move(found);
  }
  return ParseWhole(file, Extent::kWhole);
}

StatusOr<CheckpointOutline> MetadataReader::ParseWhole(
    const MetadataBytes& file, Extent extent) {
  StatusOr<Metadata> metadata = extent == Extent::kWithoutPaths
                                    ? ParseMetadataWithoutPaths(file.pickle)
                                    : ParseMetadata(file.pickle);
  if (!metadata.ok()) return Annotate(metadata.status(), file.path);
  CheckpointOutline whole{.index = {.metadata = *std::move(metadata)}};
  const std::string_view save_id = DcpcppSaveIdOf(whole.index.metadata);
  if (save_id.empty()) return whole;
  // Our own checkpoint: without its sidecar it is not what was written.
  StatusOr<SidecarFileContent> content = ReadSidecar(save_id, file);
  // Who asked for no checks gets what the items say of themselves.
  if (!content.ok() && !verify_) return whole;
  DCP_RETURN_IF_ERROR(content.status());
  if (verify_) DCP_RETURN_IF_ERROR(RequireIndex(content->sidecar));
  whole.index.storage_data = std::move(content->bytes);
  return whole;
}

StatusOr<std::optional<CheckpointOutline>> MetadataReader::Outline(
    const MetadataBytes& file) {
  std::optional<CheckpointOutline> outline;
  DCP_ASSIGN_OR_RETURN(const std::string save_id, FindIndexed(file.pickle));
  if (save_id.empty()) return outline;
  // What is wrong with the sidecar is told when the metadata was parsed.
  StatusOr<SidecarFileContent> content = ReadSidecar(save_id, file);
  if (!content.ok() || !content->sidecar.index) return outline;
  DCP_ASSIGN_OR_RETURN(
      const IndexedMetadata indexed,
      OpenIndexedFile(file_system_, directory_, content->sidecar));
  outline.emplace().lacks_items = true;
  DCP_ASSIGN_OR_RETURN(outline->index.metadata, indexed.ReadOutline());
  outline->index.storage_data = std::move(content->bytes);
  if (DcpcppSaveIdOf(outline->index.metadata) == save_id) return outline;
  return CorruptionError(
      "the indexed metadata name another save",
      {.op = "verify",
       .path = JoinPath(directory_, IndexedMetadataName(save_id))});
}

StatusOr<std::optional<BoundIndex>> MetadataReader::OpenIndex() {
  std::optional<BoundIndex> index;
  // What is wrong with these two files is told when the metadata was parsed.
  const auto end = ReadEnd(file_system_, directory_);
  if (!end.ok()) return index;
  DCP_ASSIGN_OR_RETURN(const std::string save_id, FindIndexed(end->tail));
  if (save_id.empty()) return index;
  auto content = ReadSidecarFile(file_system_, directory_, save_id);
  if (!content.ok() || !content->sidecar.index ||
      content->sidecar.metadata_nbytes != end->nbytes) {
    return index;
  }
  DCP_ASSIGN_OR_RETURN(
      IndexedMetadata opened,
      OpenIndexedFile(file_system_, directory_, content->sidecar));
  index.emplace(BoundIndex{.sidecar = std::move(content->sidecar),
                           .metadata = std::move(opened)});
  return index;
}

StatusOr<std::string> MetadataReader::FindIndexed(
    std::string_view metadata_tail) {
  std::string save_id(LikelySaveIdOf(metadata_tail));
  if (save_id.empty()) return save_id;
  DCP_ASSIGN_OR_RETURN(const bool has_index, HasIndex(save_id));
  return has_index ? save_id : std::string();
}

StatusOr<bool> MetadataReader::HasIndex(std::string_view save_id) {
  return file_system_.Exists(
      JoinPath(directory_, IndexedMetadataName(save_id)));
}

StatusOr<SidecarFileContent> MetadataReader::ReadSidecar(
    std::string_view save_id, const MetadataBytes& file) {
  DCP_ASSIGN_OR_RETURN(SidecarFileContent content,
                       ReadSidecarFile(file_system_, directory_, save_id));
  DCP_RETURN_IF_ERROR(
      CheckMetadataCrc(content.sidecar, file.pickle, file.path));
  return content;
}

Status MetadataReader::RequireIndex(const Sidecar& sidecar) {
  if (!sidecar.index) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(const bool has_index, HasIndex(sidecar.save_id));
  return has_index ? absl::OkStatus()
                   : MissingIndex(directory_, sidecar.save_id);
}

}  // namespace dcp
