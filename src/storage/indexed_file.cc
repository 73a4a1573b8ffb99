#include "storage/indexed_file.h"

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/checksum.h"
#include "format/file_names.h"
#include "storage/limits.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

std::string PathOf(const std::string& directory, const Sidecar& sidecar) {
  return JoinPath(directory, IndexedMetadataName(sidecar.save_id));
}

/// What `sidecar` says of its index.
SidecarIndex RecordOf(const Sidecar& sidecar) {
  return sidecar.index.value_or(SidecarIndex());
}

Status RequireNbytes(int64_t nbytes, const Sidecar& sidecar,
                     const std::string& path) {
  const int64_t written = RecordOf(sidecar).nbytes;
  if (nbytes > kMaxIndexedMetadataNbytes) {
    return CorruptionError(
        "the file has " + std::to_string(nbytes) + " bytes, at most " +
            std::to_string(kMaxIndexedMetadataNbytes) + " are read",
        {.op = "open", .path = path});
  }
  if (nbytes == written) return absl::OkStatus();
  return CorruptionError("the file has " + std::to_string(nbytes) + " bytes, " +
                             std::to_string(written) + " were written",
                         {.op = "open", .path = path});
}

}  // namespace

StatusOr<std::string> SerializeIndexedMetadata(const Metadata& metadata,
                                               const PlaceTable& places,
                                               std::string_view pickle) {
  std::string bytes;
  DCP_RETURN_IF_ERROR(
      WriteIndexedMetadata(metadata, places,
                           {.nbytes = static_cast<int64_t>(pickle.size()),
                            .crc32 = Crc32(0, pickle)},
                           [&bytes](std::string_view part) {
                             bytes += part;
                             return absl::OkStatus();
                           }));
  return bytes;
}

SidecarIndex BindIndex(std::string_view indexed_metadata) {
  return {.nbytes = static_cast<int64_t>(indexed_metadata.size()),
          .crc32 = Crc32(0, indexed_metadata)};
}

Status MissingIndex(const std::string& directory, std::string_view save_id) {
  return CorruptionError(
      "the checkpoint's indexed metadata are missing",
      {.op = "open",
       .path = JoinPath(directory, IndexedMetadataName(save_id))});
}

StatusOr<IndexedMetadata> OpenIndexedFile(FileSystem& file_system,
                                          const std::string& directory,
                                          const Sidecar& sidecar) {
  const std::string path = PathOf(directory, sidecar);
  auto opened = file_system.Open(path, {.beneath = ReadRoot(directory)});
  if (opened.status().code() == absl::StatusCode::kNotFound) {
    return MissingIndex(directory, sidecar.save_id);
  }
  DCP_RETURN_IF_ERROR(opened.status());
  const std::shared_ptr<File> file = *std::move(opened);
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
  DCP_RETURN_IF_ERROR(RequireNbytes(nbytes, sidecar, path));
  auto index = IndexedMetadata::Open(
      [file](int64_t byte_offset, std::span<std::byte> out) {
        const IoSlice slice{.data = out.data(), .nbytes = out.size()};
        return file->ReadFully(byte_offset, {&slice, 1});
      },
      nbytes,
      {.nbytes = sidecar.metadata_nbytes, .crc32 = sidecar.metadata_crc32});
  if (!index.ok()) return Annotate(index.status(), path);
  return index;
}

StatusOr<std::string> ReadIndexedFile(FileSystem& file_system,
                                      const std::string& directory,
                                      const Sidecar& sidecar) {
  const std::string path = PathOf(directory, sidecar);
  auto bytes = ReadFile(file_system, path, kMaxIndexedMetadataNbytes,
                        {.beneath = ReadRoot(directory)});
  if (bytes.status().code() == absl::StatusCode::kNotFound) {
    return MissingIndex(directory, sidecar.save_id);
  }
  DCP_RETURN_IF_ERROR(bytes.status());
  DCP_RETURN_IF_ERROR(
      RequireNbytes(static_cast<int64_t>(bytes->size()), sidecar, path));
  if (BindIndex(*bytes) == RecordOf(sidecar)) return bytes;
  return CorruptionError("the file differs from its recorded CRC-32",
                         {.op = "verify", .path = path});
}

}  // namespace dcp
