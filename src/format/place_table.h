// PlaceTable: where the items of metadata lie, in the order of its entries and
// their chunks.
//
// Ranks say where they put their items in an order of their own, and Metadata
// keeps that in a hash table; files are written entry by entry. Each item finds
// its slot once, when it is added. What is read then lies side by side, in 32
// bytes an item.

#ifndef DCP_FORMAT_PLACE_TABLE_H_
#define DCP_FORMAT_PLACE_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dcp/metadata.h"
#include "format/entry_finder.h"

namespace dcp {

/// The place of a chunk or an object.
struct PlacedItem {
  int64_t offset = 0;      ///< StorageInfo::offset
  int64_t length = 0;      ///< StorageInfo::length
  int64_t index_hint = 0;  ///< MetadataIndex::index, if has_index
  uint32_t file = 0;       ///< 1 + its position in files(); 0: no place
  bool has_index = false;

  std::optional<int64_t> index() const {
    return has_index ? std::optional(index_hint) : std::nullopt;
  }
};

/// First all items are added, then Finish, then the table is read. One thread
/// at a time; once finished, immutable.
class PlaceTable {
 public:
  /// An entry of storage_data.
  using Stray = std::pair<MetadataIndex, StorageInfo>;

  /// For the items of `metadata`, which outlives the table and stays as it is.
  /// Its storage_data is not looked at.
  explicit PlaceTable(const Metadata& metadata);

  /// Adds an item. Both arguments stay until Finish. Of items that have one key
  /// the first counts; but of chunks at one offset, of which all but one are
  /// empty, that one has the place.
  void Add(const MetadataIndex& index, const StorageInfo& info);
  void Finish();

  /// Of the entry at `position`: a slot for each chunk, one for an object.
  std::span<const PlacedItem> SlotsOf(size_t position) const {
    return std::span(slots_).subspan(
        first_slots_[position],
        first_slots_[position + 1] - first_slots_[position]);
  }
  /// Of all entries.
  size_t slot_count() const { return slots_.size(); }
  /// Files, each with the transforms of its items, as places of no length.
  const std::vector<StorageInfo>& files() const { return files_; }
  /// Items that no entry has, by key and offset.
  const std::vector<Stray>& strays() const { return strays_; }

 private:
  struct Item {
    const MetadataIndex* index = nullptr;
    const StorageInfo* info = nullptr;
  };
  struct Pending {
    size_t position = 0;
    Item item;
  };
  struct EmptyChunk {
    size_t position = 0;
    size_t chunk = 0;
    Item item;
  };

  void Prefetch(size_t position, const MetadataIndex& index) const;
  void PlacePending();
  void Place(size_t position, const Item& item);
  void PlaceEmptyChunks();
  void AddStray(const Item& item);
  void Fill(size_t slot, const Item& item);
  uint32_t NumberOf(const StorageInfo& info);
  const TensorStorageMetadata* TensorAt(size_t position) const;

  const Metadata& metadata_;
  EntryFinder finder_;
  std::vector<size_t> first_slots_;  // of each entry, and the end
  std::vector<PlacedItem> slots_;
  std::array<Pending, 32> pending_;
  size_t pending_count_ = 0;
  std::vector<EmptyChunk> empty_chunks_;
  std::vector<Stray> strays_;

  std::vector<StorageInfo> files_;
  uint32_t last_file_ = 0;  // items of one file mostly follow each other
  std::unordered_map<std::string, uint32_t> plain_files_;
  std::map<std::pair<std::string, std::vector<std::string>>, uint32_t>
      transformed_files_;
};

/// The places that storage_data of `metadata` tells.
PlaceTable PlacesIn(const Metadata& metadata);

}  // namespace dcp

#endif  // DCP_FORMAT_PLACE_TABLE_H_
