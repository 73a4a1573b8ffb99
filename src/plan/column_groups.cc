#include "plan/column_groups.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace dcp {
namespace {

constexpr int kDigitBits = 11;
constexpr size_t kDigits = size_t{1} << kDigitBits;
// So few are sorted by comparing them.
constexpr size_t kFew = 256;

}  // namespace

void ColumnGroups::Group(const KeyColumn& key) {
  key_ = &key;
  if (FindPlaces()) {
    SortPlaces();
  } else {
    FindPlacesByOffsets();
  }
  records_.clear();
  begins_.clear();
  for (size_t i = 0; i < places_.size(); ++i) {
    if (i == 0 || places_[i].at != places_[i - 1].at) {
      begins_.push_back(static_cast<uint32_t>(i));
    }
    records_.push_back(places_[i].record);
  }
  begins_.push_back(static_cast<uint32_t>(places_.size()));
}

bool ColumnGroups::FindPlaces() {
  // An offset may be the size itself, of a chunk of no elements.
  const Dims& global = key_->first->global_size;
  std::array<uint64_t, Dims::kMaxDims> strides;
  uint64_t stride = 1;
  for (int d = key_->ndim - 1; d >= 0; --d) {
    strides[static_cast<size_t>(d)] = stride;
    if (__builtin_mul_overflow(stride, static_cast<uint64_t>(global[d]) + 1,
                               &stride)) {
      return false;
    }
  }
  places_.resize(key_->count);
  for (uint32_t i = 0; i < places_.size(); ++i) {
    uint64_t at = 0;
    for (int d = 0; d < key_->ndim; ++d) {
      at += static_cast<uint64_t>(columns_.ExtentOf(*key_, i, d).begin) *
            strides[static_cast<size_t>(d)];
    }
    places_[i] = {.at = at, .record = i};
  }
  return true;
}

void ColumnGroups::FindPlacesByOffsets() {
  std::vector<uint32_t> order(key_->count);
  std::iota(order.begin(), order.end(), 0);
  const auto comes_before = [this](uint32_t a, uint32_t b) {
    for (int d = 0; d < key_->ndim; ++d) {
      const int64_t begin = columns_.ExtentOf(*key_, a, d).begin;
      const int64_t other = columns_.ExtentOf(*key_, b, d).begin;
      if (begin != other) return begin < other;
    }
    return false;
  };
  std::stable_sort(order.begin(), order.end(), comes_before);
  places_.clear();
  for (const uint32_t record : order) {
    const bool is_new =
        !places_.empty() && comes_before(places_.back().record, record);
    const uint64_t last = places_.empty() ? 0 : places_.back().at;
    places_.push_back({.at = last + (is_new ? 1 : 0), .record = record});
  }
}

/// By `at`, then record: a stable sort by digits, since records ascend.
void ColumnGroups::SortPlaces() {
  const auto comes_before = [](const Place& a, const Place& b) {
    return a.at != b.at ? a.at < b.at : a.record < b.record;
  };
  if (std::is_sorted(places_.begin(), places_.end(), comes_before)) return;
  if (places_.size() <= kFew) {
    std::sort(places_.begin(), places_.end(), comes_before);
    return;
  }
  uint64_t differing = 0;
  for (const Place& place : places_) differing |= place.at ^ places_[0].at;
  sorted_.resize(places_.size());
  for (int shift = 0; shift < 64; shift += kDigitBits) {
    const auto digit = [shift](uint64_t at) {
      return (at >> shift) & (kDigits - 1);
    };
    if (digit(differing) == 0) continue;
    std::array<uint32_t, kDigits + 1> next{};
    for (const Place& place : places_) ++next[digit(place.at) + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (const Place& place : places_) {
      sorted_[next[digit(place.at)]++] = place;
    }
    std::swap(places_, sorted_);
  }
}

// Sorted by offsets, chunks tile a tensor if each follows the one before as the
// digits of a counter do: in one dimension it begins where that ended, in those
// before it lies and is cut as that, and in those behind that was the last and
// this is the first. By induction over dimensions from the last, the chunks
// between two that move on in one dimension cover all of those behind.
bool ColumnGroups::Tile() const {
  const Dims& global = key_->first->global_size;
  std::optional<uint32_t> previous;
  for (size_t group = 0; group < size(); ++group) {
    const uint32_t record = RecordsOf(group)[0];
    if (IsEmpty(record)) continue;
    if (!previous) {
      for (int d = 0; d < key_->ndim; ++d) {
        if (columns_.ExtentOf(*key_, record, d).begin != 0) return false;
      }
    } else if (!Follows(record, *previous)) {
      return false;
    }
    previous = record;
  }
  if (!previous) return Numel(global) == 0;
  for (int d = 0; d < key_->ndim; ++d) {
    if (columns_.ExtentOf(*key_, *previous, d).end() != global[d]) return false;
  }
  return true;
}

bool ColumnGroups::IsEmpty(uint32_t record) const {
  for (int d = 0; d < key_->ndim; ++d) {
    if (columns_.ExtentOf(*key_, record, d).size == 0) return true;
  }
  return false;
}

bool ColumnGroups::Follows(uint32_t record, uint32_t previous) const {
  const Dims& global = key_->first->global_size;
  int d = 0;
  while (d < key_->ndim && columns_.ExtentOf(*key_, record, d) ==
                               columns_.ExtentOf(*key_, previous, d)) {
    ++d;
  }
  if (d == key_->ndim || columns_.ExtentOf(*key_, record, d).begin !=
                             columns_.ExtentOf(*key_, previous, d).end()) {
    return false;
  }
  for (++d; d < key_->ndim; ++d) {
    if (columns_.ExtentOf(*key_, record, d).begin != 0 ||
        columns_.ExtentOf(*key_, previous, d).end() != global[d]) {
      return false;
    }
  }
  return true;
}

}  // namespace dcp
