#include "checkpoint/conversion_items.h"

#include <cstdint>
#include <utility>

#include "dcp/dtype.h"
#include "dcp/plan.h"

namespace dcp {
namespace {

StatusOr<const StorageInfo*> PlaceOf(const Metadata& metadata,
                                     const MetadataIndex& index) {
  const auto place = metadata.storage_data.find(index);
  if (place != metadata.storage_data.end()) return &place->second;
  return DataLoss("the metadata lists " + ToString(index) +
                  " and does not say where it is stored");
}

void Add(ConvertedItem converted, WriteItem item, ConversionPlan* plan) {
  item.source = static_cast<int64_t>(plan->items.size());
  plan->items.push_back(std::move(converted));
  plan->save.items.push_back(std::move(item));
}

}  // namespace

Status AddObject(const Metadata& metadata, const std::string& fqn,
                 const std::string& name, ConversionPlan* plan) {
  const MetadataIndex index{.fqn = fqn};
  DCP_ASSIGN_OR_RETURN(const StorageInfo* place, PlaceOf(metadata, index));
  Add({.kind = ConvertedKind::kEncoded, .index = index},
      {.fqn = name, .type = WriteItemType::kByteIo, .nbytes = place->length},
      plan);
  return absl::OkStatus();
}

void AddPart(const std::string& name, const Box& part, ConvertedKind kind,
             ConversionPlan* plan) {
  const SourceTensor& tensor = plan->tensors.back();
  const bool is_whole = part == WholeBox(tensor.stored->size);
  Add({.kind = kind, .tensor = plan->tensors.size() - 1},
      {.fqn = name,
       .type = is_whole ? WriteItemType::kTensor : WriteItemType::kShard,
       .chunk = part,
       .global_size = tensor.stored->size,
       .properties = {.dtype = tensor.dtype,
                      .requires_grad = tensor.stored->properties.requires_grad},
       .nbytes = part.numel() * ItemSize(tensor.dtype)},
      plan);
}

Status AddEncodedChunk(const Metadata& metadata, size_t number,
                       const std::string& name, ConversionPlan* plan) {
  const SourceTensor& tensor = plan->tensors.back();
  const Box& chunk = tensor.stored->chunks[number];
  const MetadataIndex index{.fqn = std::string(tensor.fqn),
                            .offset = chunk.offsets,
                            .index = static_cast<int64_t>(number)};
  DCP_ASSIGN_OR_RETURN(const StorageInfo* place, PlaceOf(metadata, index));
  AddPart(name, chunk, ConvertedKind::kEncoded, plan);
  plan->items.back().index = index;
  plan->save.items.back().nbytes = place->length;
  return absl::OkStatus();
}

}  // namespace dcp
