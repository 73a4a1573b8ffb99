// Metadata: what a checkpoint holds and where, under torch's own names.
//
// The types mirror torch.distributed.checkpoint.metadata (torch 2.13), because
// the names are in the files and in every framework built on them.

#ifndef DCP_METADATA_H_
#define DCP_METADATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"

namespace dcp {

/// Values of torch's `_MEM_FORMAT_ENCODING`.
enum class MemoryFormat : uint8_t {
  kContiguous = 0,
  kChannelsLast = 1,
  kPreserve = 2,
};

/// torch.layout, by the name after "torch.".
enum class Layout : uint8_t {
  kStrided = 0,
  kSparseCoo = 1,
  kSparseCsr = 2,
  kSparseCsc = 3,
  kSparseBsr = 4,
  kSparseBsc = 5,
  kMkldnn = 6,
  kJagged = 7,
};

/// torch TensorProperties. Only `dtype` matters to a loader; torch calls the
/// others deprecated, but writes them.
struct TensorProperties {
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kStrided;
  bool requires_grad = false;
  MemoryFormat memory_format = MemoryFormat::kContiguous;
  bool pin_memory = false;
  bool operator==(const TensorProperties&) const = default;
};

/// A stored region of a tensor.
using ChunkStorageMetadata = Box;

struct TensorStorageMetadata {
  TensorProperties properties;
  Dims size;  ///< global shape
  std::vector<ChunkStorageMetadata> chunks;
  bool operator==(const TensorStorageMetadata&) const = default;
};

/// An object that is not a tensor, stored as bytes (a torch.save of it).
struct BytesStorageMetadata {
  bool operator==(const BytesStorageMetadata&) const = default;
};

using StorageMetadata =
    std::variant<TensorStorageMetadata, BytesStorageMetadata>;

/// Key of one stored item: `offset` is the chunk's, absent for bytes. `index`
/// is a hint (position in TensorStorageMetadata::chunks) and no part of the
/// identity.
struct MetadataIndex {
  std::string fqn;
  std::optional<Dims> offset;
  std::optional<int64_t> index;

  friend bool operator==(const MetadataIndex& a, const MetadataIndex& b) {
    return a.fqn == b.fqn && a.offset == b.offset;
  }
};

struct MetadataIndexHash {
  size_t operator()(const MetadataIndex& index) const;
};

/// "model.weight [offset=[4, 0]]", for messages.
std::string ToString(const MetadataIndex& index);

/// Where an item lies: torch's `filesystem._StorageInfo`.
struct StorageInfo {
  std::string relative_path;  ///< within the checkpoint directory
  int64_t offset = 0;         ///< bytes from the start of the file
  int64_t length = 0;         ///< bytes, as stored (compressed if transformed)
  /// Outermost transform first, e.g. {"stream.zstd/1"}; empty for none.
  std::vector<std::string> transform_descriptors;
  bool operator==(const StorageInfo&) const = default;
};

/// One step of an object path: a mapping's key or a list's position.
using PathItem = std::variant<std::string, int64_t>;
using ObjectPath = std::vector<PathItem>;

/// torch StorageMeta.
struct StorageMeta {
  std::optional<std::string> checkpoint_id;
  std::optional<std::string> save_id;
  std::optional<std::string> load_id;
  std::vector<std::string> modules;
  bool operator==(const StorageMeta&) const = default;
};

/// The whole of a `.metadata` file.
///
/// Keys keep the order in which they were added (torch's dict order). Regular
/// value type; safe for concurrent reads.
class Metadata {
 public:
  using Entry = std::pair<std::string, StorageMetadata>;

  /// state_dict_metadata, in order.
  const std::vector<Entry>& entries() const { return entries_; }
  /// Position of `fqn` in entries(), or entries().size() if it is not there.
  size_t Position(std::string_view fqn) const;
  /// nullptr if there is no such key.
  const StorageMetadata* Find(std::string_view fqn) const;
  /// The tensor `fqn`, nullptr if there is none or it is a bytes entry.
  const TensorStorageMetadata* FindTensor(std::string_view fqn) const;
  /// Adds the entry `fqn` with `value`, or, if there is one, returns that
  /// unchanged. The pointer is valid until the next Add.
  StorageMetadata* Add(std::string_view fqn, StorageMetadata value);
  StorageMetadata* FindMutable(std::string_view fqn);
  /// Makes room for `count` entries and as many stored items.
  void Reserve(size_t count);

  /// planner_data: flat key -> path in the nested state dict. nullopt is
  /// torch's None; keys without a path are top-level.
  std::optional<std::unordered_map<std::string, ObjectPath>> planner_data;

  /// storage_data. Items that a reader cannot find are an error of the file.
  std::unordered_map<MetadataIndex, StorageInfo, MetadataIndexHash>
      storage_data;

  std::optional<StorageMeta> storage_meta;
  /// "1.0.0" from torch 2.9 on, absent before.
  std::optional<std::string> version;

  /// Names of attributes that other frameworks added (Megatron's `mcore_data`)
  /// or of values too exotic to keep; they are dropped on rewriting.
  std::vector<std::string> ignored_attributes;

 private:
  /// The slot that has `fqn`, or the free one where it belongs.
  size_t Slot(std::string_view fqn) const;
  void Rehash(size_t slot_count);

  std::vector<Entry> entries_;
  // Open-addressing index over entries_: position + 1, 0 for a free slot. Its
  // size is a power of two. Unlike a map of strings it copies no key.
  std::vector<uint32_t> slots_;
};

}  // namespace dcp

#endif  // DCP_METADATA_H_
