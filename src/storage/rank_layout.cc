#include "storage/rank_layout.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "format/safetensors_sharding.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_items.h"

namespace dcp {
namespace {

using Items = std::vector<const WriteItem*>;

/// What goes into which file.
struct SortedItems {
  std::map<std::pair<int, int64_t>, Items> files;  // by rank and number
  int64_t count = 1;                               // the highest number
};

int64_t HighestOf(const std::map<std::string, int64_t>& file_numbers) {
  int64_t highest = 1;
  for (const auto& [_, number] : file_numbers) {
    highest = std::max(highest, number);
  }
  return highest;
}

StatusOr<SortedItems> SortItems(
    const GlobalPlan& plan,
    const std::map<std::string, int64_t>& file_numbers) {
  const int64_t highest = HighestOf(file_numbers);
  SortedItems sorted{.count = highest};
  for (size_t rank = 0; rank < plan.plans.size(); ++rank) {
    std::unordered_map<std::string_view, int64_t> chunks;  // so far, by name
    for (const WriteItem& item : plan.plans[rank].items) {
      int64_t number = 1;
      if (!file_numbers.empty()) {
        DCP_ASSIGN_OR_RETURN(number, FileNumberOf(file_numbers, item.fqn));
      }
      const int64_t layer = chunks[item.fqn]++;
      sorted.files[{static_cast<int>(rank), number + layer * highest}]
          .push_back(&item);
      sorted.count = std::max(sorted.count, (layer + 1) * highest);
    }
  }
  if (sorted.files.empty()) sorted.files[{0, 1}] = {};
  return sorted;
}

StatusOr<SharedLayoutFile> LayOutFile(int rank, const Items& items) {
  std::vector<SafetensorsTensor> described;
  std::unordered_map<std::string_view, const WriteItem*> by_name;
  std::map<std::string, Dims> offsets;
  for (const WriteItem* item : items) {
    DCP_ASSIGN_OR_RETURN(
        SafetensorsTensor tensor,
        DescribeTensor(item->fqn, item->properties.dtype, item->chunk.sizes));
    described.push_back(std::move(tensor));
    by_name.emplace(item->fqn, item);
    offsets.emplace(item->fqn, item->chunk.offsets);
  }
  std::map<std::string, std::string> metadata = {
      {std::string(kFrameworkKey), "pt"},
      {std::string(kShardingInfoKey), SerializeShardingInfo(offsets)},
      {std::string(kShardingVersionKey), std::string(kShardingVersion)}};
  SharedLayoutFile file{.rank = rank};
  DCP_ASSIGN_OR_RETURN(
      file.head,
      SerializeSafetensorsHeader(std::move(described), std::move(metadata)));
  for (const SafetensorsTensor& placed : file.head.header.tensors) {
    const WriteItem& item = *by_name.at(placed.name);
    file.fqns.push_back(placed.name);
    file.tensors.push_back(
        {.begin = file.head.header.data_offset + placed.begin,
         .dtype = item.properties.dtype,
         .sizes = item.chunk.sizes,
         .chunks = {{.box = WholeBox(item.chunk.sizes),
                     .rank = rank,
                     .source = item.source}},
         .origin = item.chunk.offsets});
  }
  file.extents = {{.begin = 0, .end = file.nbytes(), .owner = rank}};
  return file;
}

}  // namespace

StatusOr<SharedLayout> LayOutRankFiles(
    const GlobalPlan& plan,
    const std::map<std::string, int64_t>& file_numbers) {
  DCP_RETURN_IF_ERROR(
      ValidateChunks(plan.metadata, CoverageRule::kRequireFull));
  DCP_ASSIGN_OR_RETURN(const SortedItems sorted, SortItems(plan, file_numbers));
  SharedLayout layout;
  for (const auto& [place, items] : sorted.files) {
    const auto& [rank, number] = place;
    DCP_ASSIGN_OR_RETURN(SharedLayoutFile file, LayOutFile(rank, items));
    file.name = RankShardName(rank, number, sorted.count);
    for (const SharedPartTensor& tensor : file.tensors) {
      layout.total_nbytes += tensor.nbytes();
      layout.total_parameters += Numel(tensor.sizes);
    }
    layout.files.push_back(std::move(file));
  }
  return layout;
}

}  // namespace dcp
