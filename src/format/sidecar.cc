#include "format/sidecar.h"

#include <limits>
#include <unordered_set>
#include <utility>

#include "base/printable.h"
#include "base/wire.h"
#include "format/file_names.h"
#include "format/safetensors_shards.h"
#include "format/versioned_file.h"

namespace dcp {
namespace {

/// What ParseSidecar knows, what SerializeSidecar writes where there is no
/// index, and the oldest reader that understands either.
constexpr VersionedFileKind kKind{
    .magic = "DCPCPP\r\n", .name = "sidecar", .version = 2};
constexpr uint32_t kVersionWithoutIndex = 1;
constexpr uint32_t kMinReaderVersion = 1;

void PutSize(int64_t value, WireWriter* out) {
  out->PutVarint(static_cast<uint64_t>(value));
}

/// A size or offset: at most 2^62, so that two can be added.
int64_t GetSize(WireReader* in) {
  const uint64_t value = in->Varint();
  if (value > uint64_t{1} << 62) in->Fail();
  return in->ok() ? static_cast<int64_t>(value) : 0;
}

void PutFile(const SidecarFile& file, WireWriter* out) {
  out->PutString(file.name);
  PutSize(file.nbytes, out);
  for (uint32_t crc : file.block_crcs) out->PutU32(crc);
  out->PutVarint(file.items.size());
  int64_t position = 0;
  for (const SidecarItem& item : file.items) {
    PutSize(item.offset - position, out);
    PutSize(item.length, out);
    PutSize(item.data_offset, out);
    PutSize(item.data_nbytes, out);
    position = item.offset + item.length;
  }
}

/// Items follow each other: each says how far from the last one's end it is.
bool GetItems(WireReader* in, SidecarFile* file) {
  const size_t count = in->Count(4);
  file->items.reserve(count);
  int64_t position = 0;
  for (size_t i = 0; i < count; ++i) {
    SidecarItem item;
    const int64_t gap = GetSize(in);
    item.length = GetSize(in);
    item.data_offset = GetSize(in);
    item.data_nbytes = GetSize(in);
    if (!in->ok() || gap > file->nbytes - position ||
        item.length > file->nbytes - position - gap ||
        item.data_offset > item.length ||
        item.data_nbytes > item.length - item.data_offset) {
      return false;
    }
    item.offset = position + gap;
    position = item.offset + item.length;
    file->items.push_back(item);
  }
  return true;
}

Status GetFile(WireReader* in, SidecarFile* file) {
  file->name = in->String();
  file->nbytes = GetSize(in);
  const int64_t blocks = SidecarBlockCount(file->nbytes);
  if (!in->ok() ||
      blocks > static_cast<int64_t>(in->remaining() / sizeof(uint32_t))) {
    in->Fail();
    return in->status();
  }
  file->block_crcs.reserve(static_cast<size_t>(blocks));
  for (int64_t i = 0; i < blocks; ++i) file->block_crcs.push_back(in->U32());
  if (!ParseDataFileName(file->name) && !ParseSafetensorsFileName(file->name)) {
    return DataLoss("sidecar names a data file \"" + Printable(file->name) +
                    "\"");
  }
  if (!GetItems(in, file)) {
    return DataLoss("sidecar has an impossible item of " + file->name);
  }
  return in->status();
}

Status GetFiles(WireReader* in, std::vector<SidecarFile>* files) {
  constexpr size_t kMinFileNbytes = 3;
  const size_t count = in->Count(kMinFileNbytes);
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    SidecarFile file;
    DCP_RETURN_IF_ERROR(GetFile(in, &file));
    if (!names.insert(file.name).second) {
      return DataLoss("sidecar names " + file.name + " twice");
    }
    files->push_back(std::move(file));
  }
  return absl::OkStatus();
}

/// What version 2 has behind the files.
Status GetIndex(WireReader* in, std::optional<SidecarIndex>* index) {
  if (in->Flag()) {
    index->emplace();
    (*index)->nbytes = GetSize(in);
    (*index)->crc32 = in->U32();
  }
  return in->status();
}

/// All but the files and the index.
Status GetSave(WireReader* in, Sidecar* sidecar) {
  sidecar->save_id = in->String();
  if (in->Flag()) sidecar->step = in->Signed();
  sidecar->metadata_nbytes = GetSize(in);
  sidecar->metadata_crc32 = in->U32();
  DCP_RETURN_IF_ERROR(in->status());
  if (!IsDcpcppSaveId(sidecar->save_id)) {
    return DataLoss("sidecar has the save id \"" + Printable(sidecar->save_id) +
                    "\"");
  }
  return absl::OkStatus();
}

}  // namespace

std::string SerializeSidecar(const Sidecar& sidecar) {
  WireWriter out;
  PutVersions(kKind, sidecar.index ? kKind.version : kVersionWithoutIndex,
              kMinReaderVersion, &out);
  out.PutString(sidecar.save_id);
  out.PutFlag(sidecar.step.has_value());
  if (sidecar.step) out.PutSigned(*sidecar.step);
  PutSize(sidecar.metadata_nbytes, &out);
  out.PutU32(sidecar.metadata_crc32);
  out.PutVarint(sidecar.files.size());
  for (const SidecarFile& file : sidecar.files) PutFile(file, &out);
  if (sidecar.index) {
    out.PutU8(1);
    PutSize(sidecar.index->nbytes, &out);
    out.PutU32(sidecar.index->crc32);
  }
  return FinishVersionedFile(std::move(out));
}

StatusOr<Sidecar> ParseSidecar(std::string_view data) {
  DCP_ASSIGN_OR_RETURN(const VersionedContent content,
                       OpenVersionedFile(kKind, data));
  WireReader in(content.bytes, "sidecar");
  Sidecar sidecar;
  DCP_RETURN_IF_ERROR(GetSave(&in, &sidecar));
  DCP_RETURN_IF_ERROR(GetFiles(&in, &sidecar.files));
  DCP_RETURN_IF_ERROR(in.status());
  if (content.version > kVersionWithoutIndex) {
    DCP_RETURN_IF_ERROR(GetIndex(&in, &sidecar.index));
  }
  // A newer format may append what this reader can do without.
  if (content.version <= kKind.version) DCP_RETURN_IF_ERROR(in.Finish());
  return sidecar;
}

}  // namespace dcp
