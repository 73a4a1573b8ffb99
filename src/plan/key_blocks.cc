// What an entry says depends on its bytes, on the entry before it and, after
// an object, on the size of the tensor before that; what a path says, on its
// bytes and the key before it. So where a block goes on after an entry as
// another one did, with the same bytes, the same entries come next. Numbers are
// given in the order of reading: those that were new one after the other have
// numbers one after the other, and their bytes are neighbours (ByteRuns).

#include "plan/key_blocks.h"

#include <algorithm>
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

// After an object entries are looked at before their bytes are compared, so
// only some at a time.
constexpr size_t kMostAfterObject = 64;

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
  std::vector<uint32_t>& numbers = block->entries;
  numbers.reserve(count);
  // Nothing repeats the size of an object.
  const KeyEntry before_first{.type = WriteItemType::kByteIo};
  const Dims no_size;
  const Dims* size = &no_size;  // of the last tensor
  size_t dims = 0;
  while (numbers.size() < count) {
    const bool is_first = numbers.empty();
    const uint32_t last = is_first ? 0 : numbers.back();
    size_t added =
        is_first ? 0 : KnownEntriesAfter(last, *size, count - numbers.size());
    uint32_t number = last + 1;
    if (added > 0) {
      rest_.remove_prefix(entry_runs_.NbytesAfter(last, added));
    } else {
      const auto read =
          ReadEntry(is_first ? before_first : EntryOf(last), *size);
      if (!read) return Malformed();
      number = *read;
      added = 1;
    }
    dims += dims_before_[number + added] - dims_before_[number];
    if (dims > kMostDimsPerByte * data_.size()) return TooManyDims(dims);
    for (const size_t end = number + added; number < end; ++number) {
      numbers.push_back(number);
    }
    while (added > 0 && EntryOf(number - 1).is_object()) {
      --number;
      --added;
    }
    if (added > 0) size = &EntryOf(number - 1).global_size;
  }
  return absl::OkStatus();
}

/// How many of the next `most` entries are those that came after `last` before,
/// where `size` is that of the last tensor.
size_t KeyBlocks::KnownEntriesAfter(uint32_t last, const Dims& size,
                                    size_t most) const {
  if (EntryOf(last).is_object()) {
    most = std::min({most, kMostAfterObject, entries_.size() - last - 1});
    for (uint32_t i = 0; i < most; ++i) {
      const KeyEntry& entry = EntryOf(last + 1 + i);
      if (entry.is_object()) continue;
      if (entry.global_size != size) most = i;
      break;
    }
  }
  return entry_runs_.CountAfter(last, rest_, most);
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
  dims_before_.push_back(dims_before_.back() +
                         static_cast<size_t>(entry.global_size.size()));
  entry_runs_.Add(bytes);
  entries_.push_back(std::make_unique<const KnownEntry>(KnownEntry{
      .entry = std::move(entry), .key = key_number, .before = key.last}));
  key.last = number;
  if (is_new) key_numbers_.emplace(EntryOf(number).fqn, key_number);
  return number;
}

Status KeyBlocks::ReadPaths() {
  WireReader in(rest_, {});
  const uint8_t has_paths = in.U8();
  size_t left = has_paths == 1 ? in.Count(4) : 0;
  if (!AdvanceTo(in) || has_paths > 1) return Malformed();
  if (has_paths == 0) return absl::OkStatus();
  PlannerPaths& merged = paths_ ? *paths_ : paths_.emplace();
  std::optional<uint32_t> last;
  while (left > 0) {
    size_t known = 0;
    if (last) known = path_runs_.CountAfter(*last, rest_, left);
    if (last && known > 0) {
      rest_.remove_prefix(path_runs_.NbytesAfter(*last, known));
      *last += static_cast<uint32_t>(known);
      left -= known;
      continue;
    }
    last = ReadPath(last, &merged);
    if (!last) return Malformed();
    --left;
  }
  return absl::OkStatus();
}

std::optional<uint32_t> KeyBlocks::ReadPath(std::optional<uint32_t> last,
                                            PlannerPaths* merged) {
  WireReader in(rest_, {});
  std::string_view previous;
  if (last) previous = path_keys_[*last];
  std::string key = GetKey(previous, &in);
  ObjectPath path = GetPath(key, &in);
  if (last && key <= previous) in.Fail();
  const auto bytes = rest_.substr(0, rest_.size() - in.remaining());
  if (!AdvanceTo(in)) return std::nullopt;
  if (const auto found = path_numbers_.find(key);
      found != path_numbers_.end()) {
    return found->second;
  }
  const auto number = static_cast<uint32_t>(path_keys_.size());
  const auto added = merged->emplace(std::move(key), std::move(path)).first;
  path_keys_.push_back(added->first);
  path_runs_.Add(bytes);
  path_numbers_.emplace(added->first, number);
  return number;
}

bool KeyBlocks::AdvanceTo(const WireReader& in) {
  rest_.remove_prefix(rest_.size() - in.remaining());
  return in.ok();
}

Status KeyBlocks::TooManyDims(size_t dims) const {
  return DataLoss("the keys of a save plan, " + std::to_string(data_.size()) +
                  " bytes, have " + std::to_string(dims) +
                  " dimensions and more, where " +
                  std::to_string(kMostDimsPerByte) +
                  " a byte are the most: they are garbled");
}

Status KeyBlocks::Malformed() const {
  return DataLoss(
      "the keys of a save plan are truncated or malformed at byte " +
      std::to_string(data_.size() - rest_.size()) + " of " +
      std::to_string(data_.size()));
}

}  // namespace dcp
