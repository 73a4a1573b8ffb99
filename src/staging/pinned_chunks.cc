#include "staging/pinned_chunks.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace dcp {

std::vector<PinnedChunks::Memory> PinnedChunks::GapsIn(Memory memory) const {
  std::vector<Memory> gaps;
  std::byte* at = memory.data();
  std::byte* const end = at + memory.size();
  if (const auto* across = Across(at)) {
    at = across->first + across->second.nbytes;
  }
  while (at < end) {
    const auto next = chunks_.lower_bound(at);
    std::byte* const gap_end =
        next == chunks_.end() ? end : std::min(end, next->first);
    for (; at < gap_end; at += gaps.back().size()) {
      gaps.emplace_back(at,
                        std::min(kChunk, static_cast<size_t>(gap_end - at)));
    }
    if (next == chunks_.end() || next->first >= end) break;
    at = next->first + next->second.nbytes;
  }
  return gaps;
}

const std::pair<std::byte* const, PinnedChunks::Chunk>* PinnedChunks::Across(
    const std::byte* place) const {
  const auto next = chunks_.lower_bound(place);
  if (next == chunks_.begin()) return nullptr;
  const auto& chunk = *std::prev(next);
  return chunk.first + chunk.second.nbytes > place ? &chunk : nullptr;
}

PinnedChunks::Memory PinnedChunks::Removable(Memory extent,
                                             size_t nbytes) const {
  std::byte* end = extent.data() + extent.size();
  if (const auto* across = Across(end)) end = across->first;
  if (end <= extent.data()) return {};
  std::byte* begin =
      end - std::min(nbytes, static_cast<size_t>(end - extent.data()));
  if (const auto* across = Across(begin)) {
    begin = across->first >= extent.data()
                ? across->first
                : across->first + across->second.nbytes;
  }
  return {begin, end};
}

void PinnedChunks::Unpin(Memory memory) {
  const auto first = chunks_.lower_bound(memory.data());
  const auto last = chunks_.lower_bound(memory.data() + memory.size());
  for (auto chunk = first; chunk != last; ++chunk) {
    const PinFor& by = chunk->second.pin_for;
    trouble_.Update(
        by.runtime->Unpin({chunk->first, chunk->second.nbytes}, by.device));
  }
  chunks_.erase(first, last);
}

bool PinnedChunks::HasAnyOf(Memory memory) const {
  const auto next = chunks_.lower_bound(memory.data());
  return Across(memory.data()) != nullptr ||
         (next != chunks_.end() && next->first < memory.data() + memory.size());
}

std::vector<const std::byte*> PinnedChunks::BordersIn(Memory memory) const {
  std::vector<const std::byte*> borders;
  const std::byte* const end = memory.data() + memory.size();
  const auto add = [&](const std::byte* border) {
    if (border <= memory.data() || border >= end) return;
    if (borders.empty() || borders.back() < border) borders.push_back(border);
  };
  if (const auto* across = Across(memory.data())) {
    add(across->first + across->second.nbytes);
  }
  for (auto chunk = chunks_.lower_bound(memory.data());
       chunk != chunks_.end() && chunk->first < end; ++chunk) {
    add(chunk->first);
    add(chunk->first + chunk->second.nbytes);
  }
  return borders;
}

}  // namespace dcp
