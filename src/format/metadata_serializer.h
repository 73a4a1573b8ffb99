// MetadataSerializer: Metadata -> the pickle that torch 2.13 writes for it.

#ifndef DCP_FORMAT_METADATA_SERIALIZER_H_
#define DCP_FORMAT_METADATA_SERIALIZER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/pickle_writer.h"
#include "format/place_table.h"

namespace dcp {

/// Strings and classes that recur. Each is written out once and referred to by
/// its memo afterwards.
enum class PickleWord : uint8_t {
  // modules
  kMetadataModule,
  kFilesystemModule,
  kTorchModule,
  // attributes
  kStateDictMetadata,
  kProperties,
  kSize,
  kChunks,
  kOffsets,
  kSizes,
  kPlannerData,
  kStorageData,
  kFqn,
  kIndex,
  kOffset,
  kRelativePath,
  kLength,
  kTransformDescriptors,
  kStorageMeta,
  kCheckpointId,
  kSaveId,
  kLoadId,
  kModules,
  kVersion,
  kCount,
};

enum class PickleClass : uint8_t {
  kMetadata,
  kTensorStorageMetadata,
  kBytesStorageMetadata,
  kChunkStorageMetadata,
  kTensorProperties,
  kMemFormatEncoding,
  kMetadataIndex,
  kStorageMeta,
  kStorageInfo,
  kTorchSize,
  kCount,
};

/// SerializeMetadata of `metadata` with the places of `places`, of the same
/// metadata, instead of its storage_data.
/// \error kInvalidArgument  see there
StatusOr<std::string> SerializeMetadata(const Metadata& metadata,
                                        const PlaceTable& places);

/// Used once, by SerializeMetadata.
class MetadataSerializer {
 public:
  MetadataSerializer(const Metadata& metadata, const PlaceTable& places);
  StatusOr<std::string> Serialize() &&;

 private:
  /// A memo of a value that recurs: memo + 1, 0 while it was not written.
  using Slot = PickleMemo;
  /// Opens MARK .. SETITEMS around every 1000 entries of a dict, as CPython.
  class DictBatches {
   public:
    explicit DictBatches(PickleWriter* out) : out_(*out) {}
    void BeforeEntry();
    void Finish();

   private:
    PickleWriter& out_;
    size_t count_ = 0;
  };

  // metadata_serializer.cc
  void Entries();
  void Tensor(const TensorStorageMetadata& tensor);
  void Properties(const TensorProperties& properties);
  void Chunk(const Box& chunk, const Dims& size, PickleMemo size_memo);
  void DTypeValue(DType dtype);
  void LayoutValue(Layout layout);
  void MemoryFormatValue(MemoryFormat format);

  // metadata_serializer_storage.cc
  void PlannerData();
  void Path(const ObjectPath& path, std::string_view fqn, PickleMemo memo);
  void StorageData();
  void Item(const PlacedItem& item, PickleMemo fqn, PickleMemo offset);
  void Stray(const PlaceTable::Stray& stray);
  void BeginIndex();
  void IndexValue(std::optional<int64_t> index);
  void Place(const StorageInfo& place, int64_t offset, int64_t length,
             Slot* path);
  void StringList(const std::vector<std::string>& strings);
  void StorageMetaValue();
  void OptionalString(const std::optional<std::string>& value);

  void Text(std::string_view text);
  bool Recall(Slot slot) {
    if (slot == 0) return false;
    out_.Get(slot - 1);
    return true;
  }
  void Remember(Slot* slot) { *slot = out_.Memoize() + 1; }
  /// Writes what `write` does, which is the same opcodes every time but the
  /// first: from then on, the bytes that it wrote.
  template <typename WriteOps>
  void Repeat(std::string* bytes, WriteOps write) {
    if (!bytes->empty()) return out_.Raw(*bytes);
    const size_t begin = out_.size();
    const PickleMemo memo_size = out_.memo_size();
    write();
    if (out_.memo_size() == memo_size) *bytes = out_.Since(begin);
  }
  void Word(PickleWord word);
  void Class(PickleClass type);
  void BeginObject(PickleClass type);
  void EndObject();
  PickleMemo SizeValue(const Dims& dims);
  PickleMemo OffsetsValue(const Dims& dims);

  const Metadata& metadata_;
  const PlaceTable& places_;
  PickleWriter out_;
  Status status_;  // the first string that cannot be written
  std::vector<PickleMemo> fqn_memos_;     // of each entry
  std::vector<PickleMemo> offset_memos_;  // of each slot; objects have none

  std::array<Slot, static_cast<size_t>(PickleWord::kCount)> words_{};
  std::array<Slot, static_cast<size_t>(PickleClass::kCount)> classes_{};
  std::array<Slot, 256> dtypes_{};
  std::array<Slot, 8> layouts_{};
  std::array<Slot, 3> memory_formats_{};
  std::array<Slot, Dims::kMaxDims + 1> zero_offsets_{};
  std::unordered_map<std::string_view, Slot> paths_;
  std::vector<Slot*> path_slots_;  // into paths_, of each file

  // What every chunk and every item has between its values (see Repeat).
  struct Phrases {
    std::string begin_chunk;
    std::string sizes;
    std::string begin_index;
    std::string index;
    std::string offset;
    std::string begin_place;
    std::string length;
  };
  Phrases phrases_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_METADATA_SERIALIZER_H_
