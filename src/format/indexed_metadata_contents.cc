// What IndexedMetadata makes of the bytes: Metadata, as a whole or in parts.

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "format/indexed_metadata.h"
#include "format/metadata_limits.h"

namespace dcp {
namespace {

/// What a chunk takes in a `.metadata` at least: its object, two references to
/// sizes, and the opcodes between them.
constexpr uint64_t kMinChunkNbytes = 16;
/// Names of files, with their transforms, that each item gets a copy of.
constexpr size_t kMaxFileNbytes = 512;

size_t TextNbytes(const StorageInfo& file) {
  size_t nbytes = file.relative_path.size();
  for (const std::string& transform : file.transform_descriptors) {
    nbytes += sizeof(std::string) + transform.size();
  }
  return nbytes;
}

Status AddOutline(const IndexedMetadata::Entry& entry, Metadata* metadata) {
  const size_t count = metadata->entries().size();
  if (entry.is_tensor) {
    metadata->Add(entry.fqn,
                  TensorStorageMetadata{.properties = entry.properties,
                                        .size = entry.size});
  } else {
    metadata->Add(entry.fqn, BytesStorageMetadata{});
  }
  if (metadata->entries().size() > count) return absl::OkStatus();
  return DataLoss("indexed metadata have \"" + Printable(entry.fqn) +
                  "\" twice");
}

Status IsAnother(std::string_view fqn) {
  return DataLoss("indexed metadata have another \"" + Printable(fqn) +
                  "\" than was read before");
}

/// The tensor of `entry`, or null for an object, in `stored`, which is of the
/// same key.
StatusOr<TensorStorageMetadata*> TensorOf(const IndexedMetadata::Entry& entry,
                                          StorageMetadata* stored) {
  auto* const tensor = std::get_if<TensorStorageMetadata>(stored);
  const bool is_same = tensor == nullptr
                           ? !entry.is_tensor
                           : entry.is_tensor && tensor->size == entry.size &&
                                 tensor->properties == entry.properties &&
                                 tensor->chunks.empty();
  if (is_same) return tensor;
  return IsAnother(entry.fqn);
}

}  // namespace

Status IndexedMetadata::CheckIsModest() const {
  const auto nbytes = static_cast<uint64_t>(trailer_.metadata.nbytes);
  CopyBudget budget = Budget();
  uint64_t left = nbytes / kMinChunkNbytes;
  bool is_modest =
      std::all_of(files_.begin(), files_.end(), [](const StorageInfo& file) {
        return TextNbytes(file) <= kMaxFileNbytes;
      });
  for (size_t position = 0; is_modest && position < size(); ++position) {
    DCP_ASSIGN_OR_RETURN(const Entry entry, At(position));
    is_modest = entry.item_count <= left;
    if (!is_modest) break;
    left -= entry.item_count;
    is_modest = budget.TakeItems(entry.item_count, entry.fqn, entry.size);
  }
  if (is_modest) return absl::OkStatus();
  return DataLoss("indexed metadata say more than a .metadata of " +
                  std::to_string(nbytes) + " bytes can");
}

/// Adds what the blocks of `entry`, which `metadata` has, hold.
Status IndexedMetadata::AddItems(const Entry& entry, Metadata* metadata) const {
  DCP_ASSIGN_OR_RETURN(TensorStorageMetadata * tensor,
                       TensorOf(entry, metadata->FindMutable(entry.fqn)));
  DCP_ASSIGN_OR_RETURN(std::vector<IndexedItem> items,
                       Items(entry, 0, entry.item_count));
  if (tensor != nullptr) tensor->chunks.reserve(items.size());
  for (IndexedItem& item : items) {
    MetadataIndex index{.fqn = std::string(entry.fqn), .index = item.index};
    if (tensor != nullptr) {
      index.offset = item.chunk.offsets;
      tensor->chunks.push_back(std::move(item.chunk));
    }
    if (item.place && !metadata->storage_data
                           .emplace(std::move(index), *std::move(item.place))
                           .second) {
      return DataLoss("indexed metadata place a chunk of \"" +
                      Printable(entry.fqn) + "\" twice");
    }
  }
  return absl::OkStatus();
}

StatusOr<Metadata> IndexedMetadata::ReadOutline() const {
  Metadata metadata;
  DCP_RETURN_IF_ERROR(ReadRest(&metadata));
  metadata.Reserve(size());
  for (size_t position = 0; position < size(); ++position) {
    DCP_ASSIGN_OR_RETURN(const Entry entry, At(position));
    DCP_RETURN_IF_ERROR(AddOutline(entry, &metadata));
  }
  return metadata;
}

Status IndexedMetadata::ReadEntry(std::string_view fqn,
                                  Metadata* metadata) const {
  const size_t position = metadata->Position(fqn);
  if (position == metadata->entries().size()) return absl::OkStatus();
  if (position >= size()) return IsAnother(fqn);
  DCP_ASSIGN_OR_RETURN(const Entry entry, At(position));
  return entry.fqn == fqn ? AddItems(entry, metadata) : IsAnother(fqn);
}

Status IndexedMetadata::CheckSays(const Metadata& metadata) const {
  DCP_ASSIGN_OR_RETURN(const Metadata said, ReadAll());
  const auto [here, there] =
      std::mismatch(said.entries().begin(), said.entries().end(),
                    metadata.entries().begin(), metadata.entries().end());
  if (here != said.entries().end()) {
    return DataLoss("indexed metadata say something else of \"" +
                    Printable(here->first) + "\" than .metadata");
  }
  if (there == metadata.entries().end() &&
      said.storage_data == metadata.storage_data &&
      said.planner_data == metadata.planner_data &&
      said.storage_meta == metadata.storage_meta &&
      said.version == metadata.version) {
    return absl::OkStatus();
  }
  return DataLoss("indexed metadata say something else than .metadata");
}

StatusOr<Metadata> IndexedMetadata::ReadAll() const {
  DCP_ASSIGN_OR_RETURN(Metadata metadata, ReadOutline());
  for (size_t position = 0; position < size(); ++position) {
    DCP_ASSIGN_OR_RETURN(const Entry entry, At(position));
    DCP_RETURN_IF_ERROR(AddItems(entry, &metadata));
  }
  return metadata;
}

}  // namespace dcp
