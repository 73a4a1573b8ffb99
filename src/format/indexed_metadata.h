// Indexed metadata: what `.metadata` says, for who needs little of it.
//
// A checkpoint of many ranks has millions of chunks, and a pickle must be read
// from its first byte to its last. Here an outline says what tensors there are,
// and the chunks of each, 256 to a block, are read one block at a time.
// FORMAT.md describes the bytes.

#ifndef DCP_FORMAT_INDEXED_METADATA_H_
#define DCP_FORMAT_INDEXED_METADATA_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/indexed_items.h"
#include "format/indexed_trailer.h"
#include "format/metadata_limits.h"
#include "format/place_table.h"

namespace dcp {

/// Takes the next bytes of a file.
using ByteSink = std::function<Status(std::string_view bytes)>;
/// Fills `out` with the bytes of a file from `byte_offset` on.
using ReadRange =
    std::function<Status(int64_t byte_offset, std::span<std::byte> out)>;

/// Writes entries and their items as they come. Keeps 16 bytes for every 256
/// items, and the names of entries and files; never an item of a block that is
/// full. One thread at a time. An error of the sink is the writer's; after one,
/// nothing more may be asked of it.
class IndexedMetadataWriter {
 public:
  explicit IndexedMetadataWriter(ByteSink sink);

  /// Begins an entry. Keys are distinct.
  Status BeginTensor(std::string_view fqn, const TensorProperties& properties,
                     const Dims& size);
  Status BeginObject(std::string_view fqn);
  /// Adds an item to the last entry: a tensor's chunks in their order, or an
  /// object's place.
  Status Add(IndexedItem item);
  /// Ends the file. What belongs to no entry: planner_data, storage_meta and
  /// version of `rest`, and items that no entry has.
  Status Finish(const Metadata& rest, std::span<const PlaceTable::Stray> strays,
                const MetadataBinding& metadata);

 private:
  struct Entry {
    uint64_t record_begin = 0;
    uint64_t first_block = 0;
  };
  struct Block {
    uint64_t begin = 0;
    uint32_t nbytes = 0;
    uint32_t crc32 = 0;
  };

  Status Begin(std::string_view fqn, std::string header);
  /// The directory without records and files.
  std::string Tables() const;
  Status EndEntry();
  Status FlushBlock();
  Status Put(std::string_view bytes);

  ByteSink sink_;
  uint64_t nbytes_ = 0;
  std::string open_header_;  // of the entry that Add belongs to
  uint64_t open_count_ = 0;
  std::vector<IndexedItem> pending_;  // the block that is not full
  std::vector<Entry> entries_;
  std::vector<Block> blocks_;
  std::string records_;
  FileNumbers files_;
};

/// Writes all of `metadata`, with the places of `places`, of the same metadata,
/// instead of its storage_data.
Status WriteIndexedMetadata(const Metadata& metadata, const PlaceTable& places,
                            const MetadataBinding& binding, ByteSink sink);

/// Indexed metadata, of which the directory was read: 16 bytes for every 256
/// items, and some 100 for every entry. Immutable; safe for concurrent use if
/// the ReadRange is.
class IndexedMetadata {
 public:
  struct Entry {
    std::string_view fqn;  ///< as long as the IndexedMetadata
    bool is_tensor = false;
    TensorProperties properties;  ///< of a tensor
    Dims size;                    ///< of a tensor
    uint64_t item_count = 0;      ///< chunks; of an object, its place: 0 or 1
    uint64_t first_block = 0;
  };

  /// Reads the directory of a file of `nbytes`, made for `metadata`.
  /// \error kDataLoss  damaged; of another `.metadata`; asks for more memory
  ///     than a `.metadata` of that size could
  /// \error kFailedPrecondition  needs a newer dcp
  static StatusOr<IndexedMetadata> Open(ReadRange read, int64_t nbytes,
                                        const MetadataBinding& metadata);

  /// Number of entries.
  size_t size() const { return static_cast<size_t>(trailer_.entry_count); }
  /// The entry at `position`, less than size(). Reads no file. Entries have the
  /// positions that they have in the outline, where keys are looked up.
  StatusOr<Entry> At(size_t position) const;
  /// Items [first, first + count) of `entry`, which has as many. Reads the
  /// blocks that hold them, in one range.
  /// \error kDataLoss  a block is damaged; the message names the entry
  StatusOr<std::vector<IndexedItem>> Items(const Entry& entry, uint64_t first,
                                           uint64_t count) const;

  /// What the `.metadata` says but for chunks and the places of entries' items:
  /// tensors have no chunks. Reads no block.
  StatusOr<Metadata> ReadOutline() const;
  /// Adds the chunks of the entry `fqn`, and the places of its items, to
  /// `metadata`, which has the entries of ReadOutline. Without effect if there
  /// is no such entry.
  /// \error kDataLoss  a block is damaged, or the entries differ
  Status ReadEntry(std::string_view fqn, Metadata* metadata) const;
  /// All of it, as the `.metadata` says it.
  StatusOr<Metadata> ReadAll() const;
  /// Checks that `metadata`, parsed from the `.metadata`, say the same.
  /// \error kDataLoss  they do not, or a block is damaged
  Status CheckSays(const Metadata& metadata) const;

 private:
  struct Block {
    uint64_t begin = 0;
    uint32_t nbytes = 0;
    uint32_t crc32 = 0;
  };

  IndexedMetadata() = default;

  Status CheckDirectory() const;
  /// Checks what the items ask for.
  Status CheckIsModest() const;
  bool EntriesFollowEachOther() const;
  StatusOr<Entry> ParseRecord(size_t position, size_t* record_nbytes) const;
  Block BlockAt(uint64_t block) const;
  /// As a `.metadata` of this size has.
  CopyBudget Budget() const {
    return CopyBudget(static_cast<size_t>(trailer_.metadata.nbytes));
  }
  /// Sets what belongs to no entry.
  Status ReadRest(Metadata* metadata) const;
  Status AddItems(const Entry& entry, Metadata* metadata) const;
  std::string_view RecordAt(size_t position) const;
  template <typename T>
  T Number(uint64_t byte_offset) const;

  ReadRange read_;
  IndexedTrailer trailer_;
  std::string directory_;
  std::vector<StorageInfo> files_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_INDEXED_METADATA_H_
