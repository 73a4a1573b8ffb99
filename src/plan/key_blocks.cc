// What an entry says depends on its bytes, on the entry before it and, after
// an object, on the size of the tensor before that; what a path says, on its
// bytes and the key before it. So where a block goes on after an entry as
// another one did, with the same bytes, the same entry comes next. Numbers are
// given in the order of reading: that entry is the one of the next number, if
// both were new when they were read, which is when their bytes are neighbours.

#include "plan/key_blocks.h"

#include <string>
#include <utility>

namespace dcp {
namespace {

// Ranks may differ in what is no fault, as in pinned memory. Of more entries of
// one key some are kept twice, so that none is compared with too many.
constexpr int kMostCompared = 8;

// What is planned takes memory for each dimension, and an entry of 3 bytes may
// inherit 64 of them. Tensors have 1 to 5, and an entry some 10 bytes.
constexpr size_t kMostDimsPerByte = 8;

}  // namespace

StatusOr<KeyBlock> KeyBlocks::Read(std::string_view data) {
  data_ = rest_ = data;
  KeyBlock block;
  DCP_RETURN_IF_ERROR(ReadEntries(&block));
  DCP_RETURN_IF_ERROR(ReadPaths());
  WireReader in(rest_, {});
  block.ties = GetTies(&in);
  if (!AdvanceTo(in) || !rest_.empty()) return Malformed();
  return block;
}

Status KeyBlocks::ReadEntries(KeyBlock* block) {
  WireReader in(rest_, {});
  const size_t count = in.Count(3);
  if (!AdvanceTo(in)) return Malformed();
  block->entries.reserve(count);
  // Nothing repeats the size of an object.
  const KeyEntry before_first{.type = WriteItemType::kByteIo};
  const Dims no_size;
  const Dims* size = &no_size;  // of the last tensor
  size_t dims = 0;
  std::optional<uint32_t> last;
  while (block->entries.size() < count) {
    std::optional<uint32_t> next;
    if (last) next = NextKnownEntry(*last, *size);
    if (!next) next = ReadEntry(last ? EntryOf(*last) : before_first, *size);
    if (!next) return Malformed();
    last = next;
    block->entries.push_back(*next);
    const KeyEntry& entry = EntryOf(*next);
    if (!entry.is_object()) size = &entry.global_size;
    dims += static_cast<size_t>(entry.global_size.size());
    if (dims > kMostDimsPerByte * data_.size()) {
      return DataLoss("the keys of a save plan, " +
                      std::to_string(data_.size()) + " bytes, have " +
                      std::to_string(dims) + " dimensions and more, where " +
                      std::to_string(kMostDimsPerByte) +
                      " a byte are the most: they are garbled");
    }
  }
  return absl::OkStatus();
}

std::optional<uint32_t> KeyBlocks::NextKnownEntry(uint32_t last,
                                                  const Dims& size) {
  const uint32_t next = last + 1;
  if (next == entries_.size()) return std::nullopt;
  const KnownEntry& before = *entries_[last];
  const KnownEntry& known = *entries_[next];
  if (before.bytes.data() + before.bytes.size() != known.bytes.data() ||
      !rest_.starts_with(known.bytes)) {
    return std::nullopt;
  }
  if (before.entry.is_object() && !known.entry.is_object() &&
      known.entry.global_size != size) {
    return std::nullopt;
  }
  rest_.remove_prefix(known.bytes.size());
  return next;
}

std::optional<uint32_t> KeyBlocks::ReadEntry(const KeyEntry& previous,
                                             const Dims& size) {
  WireReader in(rest_, {});
  KeyEntry entry = GetEntry(previous, size, &in);
  const auto bytes = rest_.substr(0, rest_.size() - in.remaining());
  if (!AdvanceTo(in)) return std::nullopt;
  return NumberOf(std::move(entry), bytes);
}

uint32_t KeyBlocks::NumberOf(KeyEntry entry, std::string_view bytes) {
  const auto number = static_cast<uint32_t>(entries_.size());
  const auto found = key_numbers_.find(entry.fqn);
  const bool is_new = found == key_numbers_.end();
  if (is_new) keys_.push_back({.first = number, .last = number});
  const auto key_number =
      is_new ? static_cast<uint32_t>(keys_.size() - 1) : found->second;
  Key& key = keys_[key_number];
  if (!is_new) {
    uint32_t other = key.last;
    for (int i = 0; i < kMostCompared; ++i) {
      if (EntryOf(other) == entry) return other;
      if (other == key.first) break;
      other = entries_[other]->before;
    }
  }
  entries_.push_back(
      std::make_unique<const KnownEntry>(KnownEntry{.entry = std::move(entry),
                                                    .bytes = bytes,
                                                    .key = key_number,
                                                    .before = key.last}));
  key.last = number;
  if (is_new) key_numbers_.emplace(EntryOf(number).fqn, key_number);
  return number;
}

Status KeyBlocks::ReadPaths() {
  WireReader in(rest_, {});
  const uint8_t has_paths = in.U8();
  size_t left = has_paths == 1 ? in.Count(4) : 0;
  if (!AdvanceTo(in) || has_paths > 1) return Malformed();
  if (has_paths == 1 && !paths_) paths_.emplace();
  std::optional<uint32_t> last;
  for (; left > 0; --left) {
    std::optional<uint32_t> next;
    if (last) next = NextKnownPath(*last);
    if (!next) next = ReadPath(last);
    if (!next) return Malformed();
    last = next;
  }
  return absl::OkStatus();
}

std::optional<uint32_t> KeyBlocks::NextKnownPath(uint32_t last) {
  const uint32_t next = last + 1;
  if (next == known_paths_.size()) return std::nullopt;
  const std::string_view before = known_paths_[last].bytes;
  const std::string_view bytes = known_paths_[next].bytes;
  if (before.data() + before.size() != bytes.data() ||
      !rest_.starts_with(bytes)) {
    return std::nullopt;
  }
  rest_.remove_prefix(bytes.size());
  return next;
}

std::optional<uint32_t> KeyBlocks::ReadPath(std::optional<uint32_t> last) {
  WireReader in(rest_, {});
  std::string_view previous;
  if (last) previous = known_paths_[*last].key;
  std::string key = GetKey(previous, &in);
  ObjectPath path = GetPath(key, &in);
  if (last && key <= previous) in.Fail();
  const auto bytes = rest_.substr(0, rest_.size() - in.remaining());
  if (!AdvanceTo(in)) return std::nullopt;
  if (const auto found = path_numbers_.find(key);
      found != path_numbers_.end()) {
    return found->second;
  }
  const auto number = static_cast<uint32_t>(known_paths_.size());
  const auto merged = paths_->emplace(std::move(key), std::move(path)).first;
  known_paths_.push_back({.key = merged->first, .bytes = bytes});
  path_numbers_.emplace(merged->first, number);
  return number;
}

bool KeyBlocks::AdvanceTo(const WireReader& in) {
  rest_.remove_prefix(rest_.size() - in.remaining());
  return in.ok();
}

Status KeyBlocks::Malformed() const {
  return DataLoss(
      "the keys of a save plan are truncated or malformed at byte " +
      std::to_string(data_.size() - rest_.size()) + " of " +
      std::to_string(data_.size()));
}

}  // namespace dcp
