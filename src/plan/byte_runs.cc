#include "plan/byte_runs.h"

#include <algorithm>
#include <cstring>

namespace dcp {
namespace {

/// How many bytes are the same at the beginning of `a` and `b`.
size_t EqualBytes(std::string_view a, std::string_view b) {
  constexpr size_t kStep = 256;
  const size_t most = std::min(a.size(), b.size());
  size_t at = 0;
  while (most - at >= kStep &&
         std::memcmp(a.data() + at, b.data() + at, kStep) == 0) {
    at += kStep;
  }
  while (at < most && a[at] == b[at]) ++at;
  return at;
}

}  // namespace

void ByteRuns::Add(std::string_view bytes) {
  if (ends_.empty() || ends_.back() != bytes.data()) {
    firsts_.push_back(static_cast<uint32_t>(ends_.size()));
  }
  ends_.push_back(bytes.data() + bytes.size());
}

size_t ByteRuns::CountAfter(uint32_t last, std::string_view rest,
                            size_t most) const {
  const auto after = std::upper_bound(firsts_.begin(), firsts_.end(), last);
  const size_t end = std::min(
      after == firsts_.end() ? ends_.size() : size_t{*after}, last + 1 + most);
  const std::string_view known(ends_[last], NbytesAfter(last, end - 1 - last));
  const char* equal_end = known.data() + EqualBytes(known, rest);
  const auto next = ends_.begin() + last + 1;
  const auto it = std::upper_bound(
      next, ends_.begin() + static_cast<std::ptrdiff_t>(end), equal_end);
  return static_cast<size_t>(it - next);
}

}  // namespace dcp
