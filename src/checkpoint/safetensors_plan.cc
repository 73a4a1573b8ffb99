// An item is a whole tensor here, so that items and tensors have the same
// positions until the tensors are brought into the order of reading.

#include "checkpoint/safetensors_plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "format/safetensors_dtype.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_items.h"
#include "storage/hugging_face_reader.h"

namespace dcp {
namespace {

Status CheckNumbers(const std::map<std::string, int64_t>& numbers,
                    const ConversionPlan& plan) {
  std::unordered_set<std::string_view> names;
  for (const WriteItem& item : plan.save.items) names.insert(item.fqn);
  for (const auto& [name, number] : numbers) {
    if (names.contains(name)) continue;
    return WithDetail(InvalidArgument("fqn_to_index_mapping gives " + name +
                                      " the file " + std::to_string(number) +
                                      ", and there is no such tensor"),
                      {.fqn = name});
  }
  return absl::OkStatus();
}

/// Where the one chunk of `tensor` lies; nullptr if there are several.
const StorageInfo* PlaceOf(const Metadata& metadata,
                           const SourceTensor& tensor) {
  if (tensor.stored->chunks.size() != 1) return nullptr;
  const auto place =
      metadata.storage_data.find({.fqn = std::string(tensor.fqn),
                                  .offset = tensor.stored->chunks[0].offsets});
  return place == metadata.storage_data.end() ? nullptr : &place->second;
}

/// In safetensors files, what begins at one place is one tensor. In torch files
/// it may be another view of one storage.
void TieNames(const Metadata& metadata, ConversionPlan* plan) {
  std::map<std::pair<std::string_view, int64_t>, size_t> first;
  for (size_t i = 0; i < plan->tensors.size(); ++i) {
    SourceTensor& tensor = plan->tensors[i];
    const StorageInfo* place = PlaceOf(metadata, tensor);
    if (place == nullptr || tensor.nbytes() == 0) continue;
    const auto [other, is_first] =
        first.try_emplace({place->relative_path, place->offset}, i);
    if (is_first) continue;
    const TensorStorageMetadata& kept = *plan->tensors[other->second].stored;
    if (kept.size != tensor.stored->size ||
        kept.properties.dtype != tensor.stored->properties.dtype) {
      continue;
    }
    tensor.is_alias = true;
    plan->save.ties.emplace(plan->save.items[i].fqn,
                            plan->save.items[other->second].fqn);
    plan->nbytes -= tensor.nbytes();
  }
}

/// The file of each tensor, as the writer gives them out (shared_layout.cc).
std::vector<int64_t> FilesOf(const HuggingFaceWriterOptions& options,
                             const ConversionPlan& plan) {
  std::vector<int64_t> files(plan.tensors.size(), 0);
  std::vector<size_t> stored;
  std::vector<ShardTensor> sizes;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    if (plan.tensors[i].is_alias) continue;
    const auto number = options.file_numbers.find(plan.save.items[i].fqn);
    if (number != options.file_numbers.end()) files[i] = number->second;
    stored.push_back(i);
    sizes.push_back({.nbytes = plan.tensors[i].nbytes()});
  }
  if (!options.file_numbers.empty()) return files;
  int64_t file = 0;
  for (const SafetensorsShard& shard :
       SplitIntoShards(sizes, options.max_shard_nbytes)) {
    for (const size_t i : shard.tensors) files[stored[i]] = file;
    ++file;
  }
  return files;
}

void OrderReads(const std::vector<int64_t>& files, ConversionPlan* plan) {
  std::vector<size_t> order(plan->tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Within a file as SerializeSafetensorsHeader.
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto dtype_of = [&](size_t i) {
      return SafetensorsDTypeOf(plan->tensors[i].dtype);
    };
    const auto& items = plan->save.items;
    return std::forward_as_tuple(files[a], dtype_of(b), items[a].fqn) <
           std::forward_as_tuple(files[b], dtype_of(a), items[b].fqn);
  });
  std::vector<SourceTensor> tensors;
  tensors.reserve(order.size());
  std::vector<size_t> places(order.size());
  for (const size_t i : order) {
    places[i] = tensors.size();
    tensors.push_back(plan->tensors[i]);
  }
  plan->tensors = std::move(tensors);
  for (ConvertedItem& item : plan->items) item.tensor = places[item.tensor];
}

}  // namespace

Status FitToSafetensors(const CheckpointIndex& index,
                        const HuggingFaceWriterOptions& options,
                        ConversionPlan* plan) {
  for (const WriteItem& item : plan->save.items) {
    DCP_RETURN_IF_ERROR(CheckHuggingFaceItem(item));
  }
  DCP_RETURN_IF_ERROR(CheckNumbers(options.file_numbers, *plan));
  if (IsSafetensors(index)) TieNames(index.metadata, plan);
  OrderReads(FilesOf(options, *plan), plan);
  return absl::OkStatus();
}

}  // namespace dcp
