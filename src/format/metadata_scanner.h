// MetadataScanner: the fast way from a `.metadata` file to Metadata.

#ifndef DCP_FORMAT_METADATA_SCANNER_H_
#define DCP_FORMAT_METADATA_SCANNER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/metadata.h"
#include "format/metadata_limits.h"
#include "format/pickle_scanner.h"

namespace dcp {

/// Reads what torch's pickler and ours write, and nothing else: attributes in
/// the order of torch's classes, no others, every value as expected.
///
/// A file that it reads, MetadataParser reads with an equal result, none of
/// which is ignored. Used once. Methods return false to give up.
class MetadataScanner {
 public:
  /// What becomes of planner_data. Of those that are skipped the form is still
  /// checked, not whether a key is there twice.
  enum class Paths : uint8_t { kRead, kSkip };

  /// `pickle` must outlive the scanner.
  explicit MetadataScanner(std::string_view pickle, Paths paths = Paths::kRead)
      : in_(pickle), budget_(pickle.size()), paths_(paths) {}
  /// nullopt if the file has something else, asks for too much, or is damaged.
  std::optional<Metadata> Scan() &&;

 private:
  // Of values behind one MARK. Picklers write a thousand keys and values, or
  // elements, and PickleMachine allows a million.
  static constexpr size_t kMaxBatch = 100'000;

  bool Root();
  template <typename Item, typename IsItem>
  bool Dict(Item item, IsItem is_item);
  template <typename Item>
  bool LastList(Item item);
  bool Size(Dims* sizes) { return in_.Size(sizes) && budget_.TakeDims(*sizes); }

  // state_dict_metadata (metadata_scanner.cc)
  bool Entry();
  bool IsEntry();
  bool Tensor(TensorStorageMetadata* tensor);
  bool Properties(TensorProperties* properties);
  bool LayoutValue(Layout* layout);
  bool MemoryFormatValue(MemoryFormat* format);
  bool Chunks(TensorStorageMetadata* tensor);
  bool Chunk(const Dims& size, Box* chunk);

  // The other attributes (metadata_scanner_storage.cc)
  bool PlannerData();
  bool SkipPath();
  bool IsPlannerEntry();
  bool Path(ObjectPath* path);
  bool StorageData();
  bool StoredItem();
  bool Index(MetadataIndex* index);
  bool HasEntry(const MetadataIndex& index, std::string_view fqn);
  bool Place(StorageInfo* info);
  bool Strings(std::vector<std::string>* strings);
  bool StorageMetaValue();
  bool CheckpointId(std::optional<std::string>* id);
  bool OptionalText(std::optional<std::string>* text);

  PickleScanner in_;
  CopyBudget budget_;
  const Paths paths_;
  Metadata metadata_;
  size_t item_count_ = 0;  // chunks and objects
  size_t position_ = 0;    // of the last entry that HasEntry found
  std::string_view fqn_;   // of that entry, as the pickle has it
};

/// A dict of which `item` reads a key and a value. Picklers write a thousand
/// at a time; a single one at the end has no MARK, and is there if `is_item`.
template <typename Item, typename IsItem>
bool MetadataScanner::Dict(Item item, IsItem is_item) {
  using enum PickleOp;
  if (!in_.Take(kEmptyDict)) return false;
  in_.Memoize();
  bool has_batch = false;
  while (true) {
    if (in_.Take(kMark)) {
      size_t count = 0;
      do {
        if (count++ == kMaxBatch || !item()) return false;
      } while (!in_.Take(kSetItems));
      has_batch = true;
      continue;
    }
    const PickleScanner::Bookmark here = in_.Here();
    const bool is_single = has_batch && is_item();
    in_.GoBack(here);
    if (!is_single) return true;
    if (!item() || !in_.Take(kSetItem)) return false;
  }
}

/// A list, the last attribute of its object, of which `item` reads an element.
template <typename Item>
bool MetadataScanner::LastList(Item item) {
  using enum PickleOp;
  if (!in_.Take(kEmptyList)) return false;
  in_.Memoize();
  while (in_.Peek() != kSetItems) {
    if (!in_.Take(kMark)) {
      if (!item() || !in_.Take(kAppend)) return false;
      continue;
    }
    size_t count = 0;
    do {
      if (count++ == kMaxBatch || !item()) return false;
    } while (!in_.Take(kAppends));
  }
  return true;
}

}  // namespace dcp

#endif  // DCP_FORMAT_METADATA_SCANNER_H_
