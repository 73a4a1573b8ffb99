#include "format/entry_finder.h"

#include <array>

namespace dcp {

bool EntryFinder::Take(size_t step, std::string_view fqn) {
  const auto& entries = metadata_.entries();
  const size_t guess = near_ + step;
  if (guess >= entries.size() || entries[guess].first != fqn) return false;
  near_ = guess;
  step_ = step;
  far_count_ = 0;
  return true;
}

size_t EntryFinder::Position(std::string_view fqn) {
  constexpr std::array<int, 7> kSteps = {0, -1, 1, -2, 2, -3, 3};
  if (Take(step_, fqn)) return near_;
  for (const int step : kSteps) {
    if (Take(static_cast<size_t>(step), fqn)) return near_;
  }
  const size_t position = metadata_.Position(fqn);
  if (++far_count_ > 2) near_ = position;
  return position;
}

}  // namespace dcp
