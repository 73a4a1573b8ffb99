#include "format/metadata_serializer.h"

#include <algorithm>
#include <utility>

#include "dcp/metadata_codec.h"
#include "format/layout_names.h"
#include "format/utf8.h"

namespace dcp {
namespace {

using enum PickleOp;

constexpr std::array<std::string_view, static_cast<size_t>(PickleWord::kCount)>
    kWords = {"torch.distributed.checkpoint.metadata",
              "torch.distributed.checkpoint.filesystem",
              "torch",
              "state_dict_metadata",
              "properties",
              "size",
              "chunks",
              "offsets",
              "sizes",
              "planner_data",
              "storage_data",
              "fqn",
              "index",
              "offset",
              "relative_path",
              "length",
              "transform_descriptors",
              "storage_meta",
              "checkpoint_id",
              "save_id",
              "load_id",
              "modules",
              "version"};

struct ClassName {
  PickleWord module;
  std::string_view name;
};
constexpr std::array<ClassName, static_cast<size_t>(PickleClass::kCount)>
    kClasses = {{
        {PickleWord::kMetadataModule, "Metadata"},
        {PickleWord::kMetadataModule, "TensorStorageMetadata"},
        {PickleWord::kMetadataModule, "BytesStorageMetadata"},
        {PickleWord::kMetadataModule, "ChunkStorageMetadata"},
        {PickleWord::kMetadataModule, "TensorProperties"},
        {PickleWord::kMetadataModule, "_MEM_FORMAT_ENCODING"},
        {PickleWord::kMetadataModule, "MetadataIndex"},
        {PickleWord::kMetadataModule, "StorageMeta"},
        {PickleWord::kFilesystemModule, "_StorageInfo"},
        {PickleWord::kTorchModule, "Size"},
    }};

// A key of 40 characters; a chunk with its offsets, its index and its place.
constexpr size_t kTypicalEntryNbytes = 130;
constexpr size_t kTypicalItemNbytes = 130;
/// The reader's limit on strings (PickleOptions).
constexpr size_t kMaxStringNbytes = size_t{1} << 20;

}  // namespace

StatusOr<std::string> SerializeMetadata(const Metadata& metadata) {
  return SerializeMetadata(metadata, PlacesIn(metadata));
}

StatusOr<std::string> SerializeMetadata(const Metadata& metadata,
                                        const PlaceTable& places) {
  return MetadataSerializer(metadata, places).Serialize();
}

MetadataSerializer::MetadataSerializer(const Metadata& metadata,
                                       const PlaceTable& places)
    : metadata_(metadata),
      places_(places),
      out_(PickleProtocol::k4, kTypicalEntryNbytes * metadata.entries().size() +
                                   kTypicalItemNbytes * places.slot_count() +
                                   4096) {}

StatusOr<std::string> MetadataSerializer::Serialize() && {
  BeginObject(PickleClass::kMetadata);
  Word(PickleWord::kStateDictMetadata);
  Entries();
  Word(PickleWord::kPlannerData);
  PlannerData();
  Word(PickleWord::kStorageData);
  StorageData();
  Word(PickleWord::kStorageMeta);
  StorageMetaValue();
  Word(PickleWord::kVersion);
  OptionalString(metadata_.version);
  EndObject();
  DCP_RETURN_IF_ERROR(status_);
  return std::move(out_).Finish();
}

/// Writes a string of the caller's.
void MetadataSerializer::Text(std::string_view text) {
  if (text.size() > kMaxStringNbytes) {
    status_.Update(InvalidArgument("a string of " +
                                   std::to_string(text.size()) +
                                   " bytes is longer than the 1 MiB allowed"));
  } else if (!IsValidUtf8(text)) {
    status_.Update(
        InvalidArgument("a string is not UTF-8: " + std::string(text)));
  } else {
    out_.String(text);
  }
}

void MetadataSerializer::DictBatches::BeforeEntry() {
  constexpr size_t kBatch = 1000;
  out_.Boundary();
  if (count_ % kBatch == 0) {
    if (count_ > 0) out_.Op(kSetItems);
    out_.Op(kMark);
  }
  ++count_;
}

void MetadataSerializer::DictBatches::Finish() {
  if (count_ > 0) out_.Op(kSetItems);
}

void MetadataSerializer::Word(PickleWord word) {
  Slot* slot = &words_[static_cast<size_t>(word)];
  if (Recall(*slot)) return;
  out_.String(kWords[static_cast<size_t>(word)]);
  Remember(slot);
}

void MetadataSerializer::Class(PickleClass type) {
  Slot* slot = &classes_[static_cast<size_t>(type)];
  if (Recall(*slot)) return;
  const ClassName& name = kClasses[static_cast<size_t>(type)];
  Word(name.module);
  out_.String(name.name);
  out_.Op(kStackGlobal);
  Remember(slot);
}

void MetadataSerializer::BeginObject(PickleClass type) {
  Class(type);
  out_.Ops({kEmptyTuple, kNewObj, kEmptyDict, kMark});
}

void MetadataSerializer::EndObject() { out_.Ops({kSetItems, kBuild}); }

void MetadataSerializer::Entries() {
  out_.Op(kEmptyDict);
  fqn_memos_.reserve(metadata_.entries().size());
  offset_memos_.reserve(places_.slot_count());
  DictBatches batches(&out_);
  for (const auto& [fqn, entry] : metadata_.entries()) {
    batches.BeforeEntry();
    Text(fqn);
    fqn_memos_.push_back(out_.Memoize());
    if (const auto* tensor = std::get_if<TensorStorageMetadata>(&entry)) {
      Tensor(*tensor);
    } else {
      offset_memos_.push_back(kNoPickleMemo);
      Class(PickleClass::kBytesStorageMetadata);
      out_.Ops({kEmptyTuple, kNewObj});
    }
  }
  batches.Finish();
}

void MetadataSerializer::Tensor(const TensorStorageMetadata& tensor) {
  BeginObject(PickleClass::kTensorStorageMetadata);
  Word(PickleWord::kProperties);
  Properties(tensor.properties);
  Word(PickleWord::kSize);
  const PickleMemo size_memo = SizeValue(tensor.size);
  Word(PickleWord::kChunks);
  out_.Op(kEmptyList);
  if (!tensor.chunks.empty()) {
    out_.Op(kMark);
    for (const Box& chunk : tensor.chunks) {
      out_.Boundary();
      Chunk(chunk, tensor.size, size_memo);
    }
    out_.Op(kAppends);
  }
  EndObject();
}

void MetadataSerializer::Properties(const TensorProperties& properties) {
  // torch 2.13 metadata.py TensorProperties.__getstate__.
  Class(PickleClass::kTensorProperties);
  out_.Ops({kEmptyTuple, kNewObj, kMark});
  DTypeValue(properties.dtype);
  LayoutValue(properties.layout);
  out_.Bool(properties.requires_grad);
  MemoryFormatValue(properties.memory_format);
  out_.Bool(properties.pin_memory);
  out_.Ops({kTuple, kBuild});
}

void MetadataSerializer::Chunk(const Box& chunk, const Dims& size,
                               PickleMemo size_memo) {
  Repeat(&phrases_.begin_chunk, [this] {
    BeginObject(PickleClass::kChunkStorageMetadata);
    Word(PickleWord::kOffsets);
  });
  offset_memos_.push_back(OffsetsValue(chunk.offsets));
  Repeat(&phrases_.sizes, [this] { Word(PickleWord::kSizes); });
  if (chunk.sizes == size) {
    out_.Get(size_memo);
  } else {
    SizeValue(chunk.sizes);
  }
  EndObject();
}

void MetadataSerializer::DTypeValue(DType dtype) {
  Slot* slot = &dtypes_[static_cast<size_t>(dtype)];
  if (Recall(*slot)) return;
  Word(PickleWord::kTorchModule);
  out_.String(DTypeName(dtype));
  out_.Op(kStackGlobal);
  Remember(slot);
}

void MetadataSerializer::LayoutValue(Layout layout) {
  Slot* slot = &layouts_[static_cast<size_t>(layout)];
  if (Recall(*slot)) return;
  out_.Global("torch.serialization", "_get_layout");
  out_.String(LayoutName(layout));
  out_.Ops({kTuple1, kReduce});
  Remember(slot);
}

void MetadataSerializer::MemoryFormatValue(MemoryFormat format) {
  Slot* slot = &memory_formats_[static_cast<size_t>(format)];
  if (Recall(*slot)) return;
  Class(PickleClass::kMemFormatEncoding);
  out_.Int(static_cast<int64_t>(format));
  out_.Ops({kTuple1, kReduce});
  Remember(slot);
}

/// torch.Size(dims), memoized: sizes are immutable, so sharing one is safe.
PickleMemo MetadataSerializer::SizeValue(const Dims& dims) {
  Class(PickleClass::kTorchSize);
  if (dims.size() > 3) out_.Op(kMark);
  for (int64_t value : dims) out_.Int(value);
  out_.Tuple(dims.size());
  out_.Ops({kTuple1, kReduce});
  return out_.Memoize();
}

/// As SizeValue, but all-zero offsets, the most frequent ones, are written
/// once.
PickleMemo MetadataSerializer::OffsetsValue(const Dims& dims) {
  const bool is_zero = std::all_of(dims.begin(), dims.end(),
                                   [](int64_t value) { return value == 0; });
  if (!is_zero || dims.size() > Dims::kMaxDims) return SizeValue(dims);
  Slot* slot = &zero_offsets_[static_cast<size_t>(dims.size())];
  if (!Recall(*slot)) *slot = SizeValue(dims) + 1;
  return *slot - 1;
}

}  // namespace dcp
