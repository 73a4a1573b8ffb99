#include "dcp/metadata.h"

#include <sys/random.h>

#include <bit>
#include <utility>

#include "base/sip_hash.h"

namespace dcp {
namespace {

struct HashKey {
  uint64_t word0 = 0;
  uint64_t word1 = 0;
};

HashKey MakeHashKey() {
  HashKey key;
  // Without entropy the key is known, and tables are right all the same.
  if (::getrandom(&key, sizeof(key), 0) != sizeof(key)) return {};
  return key;
}

/// Names and offsets come from files that may have been made so that all are
/// in one place of a table: so the key of its hashes is this process's own.
/// SipHash-1-3, as in the tables of CPython and Rust.
class TableHash : public SipHash<1, 3> {
 public:
  TableHash() : TableHash(ProcessKey()) {}
  uint64_t Finish() {
    MarkEnd(0xff);
    return Squeeze();
  }

 private:
  explicit TableHash(const HashKey& key) : SipHash(key.word0, key.word1) {}
  static const HashKey& ProcessKey() {
    static const HashKey key = MakeHashKey();
    return key;
  }
};

size_t HashOf(std::string_view fqn) {
  TableHash hash;
  hash.AbsorbText(fqn);
  return hash.Finish();
}

}  // namespace

// The hashes of a tensor's chunks lie as far from each other as their offsets
// in the first dimension, where these are less than 64 Ki apart: who goes
// through them in order goes through a table in order too, instead of waiting
// for memory at each one. Everything else is spread out, by a hash that nobody
// can foresee: of one such run few are in the same place of a large table.
size_t MetadataIndexHash::operator()(const MetadataIndex& index) const {
  if (!index.offset) return HashOf(index.fqn);
  constexpr uint64_t kNear = 0xffff;
  TableHash hash;
  hash.AbsorbText(index.fqn);
  hash.Absorb(static_cast<uint64_t>(index.offset->size()));
  uint64_t near = 0;
  uint64_t mask = kNear;  // of the first dimension only
  for (const int64_t value : *index.offset) {
    const auto bits = static_cast<uint64_t>(value);
    near += bits & mask;
    hash.Absorb(bits & ~mask);
    mask = 0;
  }
  return hash.Finish() + near;
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
