#include "plan/plan_columns.h"

#include <algorithm>

#include "plan/plan_columns_reader.h"

namespace dcp {

StatusOr<PlanColumns> PlanColumns::Read(std::span<std::string> messages) {
  return PlanColumnsReader(messages).Read();
}

Box PlanColumns::ChunkOf(const KeyColumn& key, size_t i) const {
  Box chunk = WholeBox(key.first->global_size);
  for (int d = 0; d < key.ndim; ++d) {
    const Extent extent = ExtentOf(key, i, d);
    chunk.offsets[d] = extent.begin;
    chunk.sizes[d] = extent.size;
  }
  return chunk;
}

int64_t PlanColumns::NumelOf(const KeyColumn& key, size_t i) const {
  int64_t numel = 1;
  for (int d = 0; d < key.ndim; ++d) numel *= ExtentOf(key, i, d).size;
  return numel;
}

int64_t PlanColumns::NbytesOf(const KeyColumn& key, size_t i) const {
  if (!key.odd_nbytes.empty() && key.odd_nbytes[i] >= 0) {
    return key.odd_nbytes[i];
  }
  return NumelOf(key, i) * key.first->itemsize();
}

WriteItem PlanColumns::ItemOf(const KeyColumn& key, size_t i) const {
  const ItemRef ref = RefOf(key, i);
  const KeyEntry& entry = EntryOf(ref);
  return {.fqn = entry.fqn,
          .type = entry.type,
          .chunk = ChunkOf(key, i),
          .global_size = entry.global_size,
          .properties = entry.properties,
          .nbytes = NbytesOf(key, i),
          .source = SourceOf(ref)};
}

int64_t PlanColumns::SourceOf(ItemRef ref) const {
  const std::vector<SourceRun>& runs = ranks_[ref.rank].sources;
  const auto after = std::upper_bound(
      runs.begin(), runs.end(), ref.item,
      [](uint32_t item, const SourceRun& run) { return item < run.item; });
  if (after == runs.begin()) return ref.item;
  const SourceRun& run = *(after - 1);
  // Wraps around, because a message may say anything.
  return static_cast<int64_t>(static_cast<uint64_t>(run.source) + ref.item -
                              run.item);
}

}  // namespace dcp
