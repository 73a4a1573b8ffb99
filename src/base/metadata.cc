#include "dcp/metadata.h"

#include <bit>
#include <functional>
#include <utility>

namespace dcp {
namespace {

size_t Mix(size_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccd;
}

size_t HashOf(std::string_view fqn) {
  return std::hash<std::string_view>()(fqn);
}

}  // namespace

// The hashes of a tensor's chunks lie as far from each other as their offsets
// in the first dimension: who goes through them in order goes through a table
// in order too, instead of waiting for memory at each one. Offsets in other
// dimensions are spread out.
size_t MetadataIndexHash::operator()(const MetadataIndex& index) const {
  size_t hash = HashOf(index.fqn);
  if (!index.offset) return hash;
  hash = Mix(hash, static_cast<uint64_t>(index.offset->size()) + 1);
  uint64_t factor = 1;
  for (int64_t value : *index.offset) {
    hash += static_cast<uint64_t>(value) * factor;
    factor *= 0x9e3779b97f4a7c15;
  }
  return hash;
}

std::string ToString(const MetadataIndex& index) {
  if (!index.offset) return index.fqn;
  return index.fqn + " [offset=" + ToString(*index.offset) + "]";
}

size_t Metadata::Position(std::string_view fqn) const {
  if (slots_.empty()) return entries_.size();
  const uint32_t taken = slots_[Slot(fqn)];
  return taken == 0 ? entries_.size() : taken - 1;
}

size_t Metadata::Slot(std::string_view fqn) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = HashOf(fqn) & mask;
  while (slots_[slot] != 0 && entries_[slots_[slot] - 1].first != fqn) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Metadata::Rehash(size_t slot_count) {
  slots_.assign(slot_count, 0);
  const size_t mask = slot_count - 1;
  for (size_t position = 0; position < entries_.size(); ++position) {
    size_t slot = HashOf(entries_[position].first) & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<uint32_t>(position + 1);
  }
}

void Metadata::Reserve(size_t count) {
  entries_.reserve(count);
  storage_data.reserve(count);
  const size_t slot_count = std::bit_ceil(2 * count + 2);
  if (slot_count > slots_.size()) Rehash(slot_count);
}

const StorageMetadata* Metadata::Find(std::string_view fqn) const {
  const size_t position = Position(fqn);
  return position < entries_.size() ? &entries_[position].second : nullptr;
}

StorageMetadata* Metadata::FindMutable(std::string_view fqn) {
  const size_t position = Position(fqn);
  return position < entries_.size() ? &entries_[position].second : nullptr;
}

const TensorStorageMetadata* Metadata::FindTensor(std::string_view fqn) const {
  const StorageMetadata* found = Find(fqn);
  return found ? std::get_if<TensorStorageMetadata>(found) : nullptr;
}

StorageMetadata* Metadata::Add(std::string_view fqn, StorageMetadata value) {
  // At most half of the slots are taken: probes stay short.
  if (2 * (entries_.size() + 1) > slots_.size()) {
    Rehash(std::bit_ceil(4 * (entries_.size() + 1)));
  }
  uint32_t& slot = slots_[Slot(fqn)];
  if (slot != 0) return &entries_[slot - 1].second;
  entries_.emplace_back(fqn, std::move(value));
  slot = static_cast<uint32_t>(entries_.size());
  return &entries_.back().second;
}

}  // namespace dcp
