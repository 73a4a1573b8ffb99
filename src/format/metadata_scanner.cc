#include "format/metadata_scanner.h"

#include <utility>
#include <vector>

#include "format/layout_names.h"
#include "format/possible_values.h"

namespace dcp {

using enum PickleOp;
using MemoKind = PickleScanner::MemoKind;

std::optional<Metadata> MetadataScanner::Scan() && {
  if (!in_.Begin() || !Root() || !in_.End()) return std::nullopt;
  return std::move(metadata_);
}

/// torch 2.3 and older write no storage_meta, 2.8 and older no version.
bool MetadataScanner::Root() {
  if (!in_.Class(PickleGlobal::kMetadata) || !in_.BeginObject()) return false;
  const auto entry = [this] { return Entry(); };
  if (!in_.Name("state_dict_metadata") ||
      !Dict(entry, [this] { return IsEntry(); })) {
    return false;
  }
  if (!in_.Name("planner_data") || !PlannerData() ||
      !in_.Name("storage_data") || !StorageData()) {
    return false;
  }
  if (in_.EndObject()) return true;
  if (!in_.Name("storage_meta") || !StorageMetaValue()) return false;
  if (in_.EndObject()) return true;
  return in_.Name("version") && OptionalText(&metadata_.version) &&
         in_.EndObject();
}

bool MetadataScanner::IsEntry() {
  std::string_view fqn;
  return in_.Text(&fqn) &&
         (in_.NextIsClass(PickleGlobal::kTensorStorageMetadata) ||
          in_.NextIsClass(PickleGlobal::kBytesStorageMetadata));
}

bool MetadataScanner::Entry() {
  std::string_view fqn;
  GlobalId type;
  if (!in_.Text(&fqn) || !in_.Global(&type)) return false;
  StorageMetadata value = BytesStorageMetadata{};
  if (type.global == PickleGlobal::kTensorStorageMetadata) {
    auto& tensor = value.emplace<TensorStorageMetadata>();
    if (!Tensor(&tensor)) return false;
    item_count_ += tensor.chunks.size();
  } else {
    if (type.global != PickleGlobal::kBytesStorageMetadata ||
        !in_.Take(kEmptyTuple) || !in_.Take(kNewObj)) {
      return false;
    }
    in_.Memoize();
    ++item_count_;
  }
  const size_t count = metadata_.entries().size();
  metadata_.Add(fqn, std::move(value));
  return metadata_.entries().size() > count;
}

bool MetadataScanner::Tensor(TensorStorageMetadata* tensor) {
  if (!in_.BeginObject() || !in_.Name("properties") ||
      !Properties(&tensor->properties) || !in_.Name("size") ||
      !Size(&tensor->size)) {
    return false;
  }
  if (!IsPossibleSize(tensor->size, tensor->properties.dtype)) return false;
  return in_.Name("chunks") && Chunks(tensor) && in_.EndObject();
}

bool MetadataScanner::Properties(TensorProperties* properties) {
  GlobalId dtype;
  if (!in_.Class(PickleGlobal::kTensorProperties) || !in_.Take(kEmptyTuple) ||
      !in_.Take(kNewObj)) {
    return false;
  }
  in_.Memoize();
  if (!in_.Take(kMark) || !in_.Global(&dtype) ||
      dtype.global != PickleGlobal::kDType ||
      !LayoutValue(&properties->layout) ||
      !in_.Bool(&properties->requires_grad) ||
      !MemoryFormatValue(&properties->memory_format) ||
      !in_.Bool(&properties->pin_memory)) {
    return false;
  }
  properties->dtype = dtype.dtype;
  Dims strides;  // torch 2.15
  if (!in_.Take(kTuple) && !(in_.Ints(&strides) && in_.Take(kTuple))) {
    return false;
  }
  in_.Memoize();
  return in_.Take(kBuild);
}

bool MetadataScanner::LayoutValue(Layout* layout) {
  uint32_t value = 0;
  if (in_.Recall(MemoKind::kLayout, &value)) {
    *layout = static_cast<Layout>(value);
    return true;
  }
  std::string_view name;
  if (!in_.Class(PickleGlobal::kGetLayout) || !in_.Text(&name) ||
      !in_.Take(kTuple1)) {
    return false;
  }
  in_.Memoize();
  const std::optional<Layout> parsed = ParseLayout(name);
  if (!parsed || !in_.Take(kReduce)) return false;
  *layout = *parsed;
  in_.Memoize(MemoKind::kLayout, static_cast<uint32_t>(*layout));
  return true;
}

bool MetadataScanner::MemoryFormatValue(MemoryFormat* format) {
  uint32_t value = 0;
  if (in_.Recall(MemoKind::kMemoryFormat, &value)) {
    *format = static_cast<MemoryFormat>(value);
    return true;
  }
  int64_t number = 0;
  if (!in_.Class(PickleGlobal::kMemFormatEncoding) || !in_.Int(&number) ||
      !in_.Take(kTuple1)) {
    return false;
  }
  in_.Memoize();
  if (number < 0 || number > 2 || !in_.Take(kReduce)) return false;
  *format = static_cast<MemoryFormat>(number);
  in_.Memoize(MemoKind::kMemoryFormat, static_cast<uint32_t>(number));
  return true;
}

bool MetadataScanner::Chunks(TensorStorageMetadata* tensor) {
  return LastList(
      [&] { return Chunk(tensor->size, &tensor->chunks.emplace_back()); });
}

bool MetadataScanner::Chunk(const Dims& size, Box* chunk) {
  return in_.Class(PickleGlobal::kChunkStorageMetadata) && in_.BeginObject() &&
         in_.Name("offsets") && Size(&chunk->offsets) && in_.Name("sizes") &&
         Size(&chunk->sizes) && in_.EndObject() &&
         IsPossibleChunk(size, *chunk);
}

}  // namespace dcp
