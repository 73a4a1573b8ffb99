#include "storage/pool_division.h"

#include <algorithm>
#include <bit>
#include <map>

namespace dcp {
namespace {

constexpr int64_t kMinSavedNbytes = int64_t{4} << 20;
constexpr int64_t kMinSavedShare = 8;  // one part of so many
// On average: what is said of many short ranges costs more than it saves.
constexpr int64_t kMinCommonNbytes = int64_t{256} << 10;

/// Where a member's range begins or ends.
struct Boundary {
  int64_t at = 0;
  size_t member = 0;
};

/// Bytes that the same members need.
struct CommonRange {
  size_t file = 0;
  FileRange range;
  uint64_t takers = 0;
};

class Divider {
 public:
  explicit Divider(std::span<const PoolNeeds> members)
      : members_(members), to_read_(members.size()) {}

  PoolDivision Run() {
    std::map<std::string_view, bool> names;
    for (const PoolNeeds& needs : members_) {
      for (const FileNeeds& file : needs) names[file.name] |= file.in_cells;
    }
    for (const auto& [name, in_cells] : names) {
      result_.files.push_back(
          {.name = std::string(name), .in_cells = in_cells});
    }
    next_.resize(members_.size());
    for (size_t f = 0; f < result_.files.size(); ++f) FindCommon(f);
    result_.piece_counts.resize(members_.size());
    if (IsWorthIt()) {
      for (const CommonRange& common : common_) Cut(common);
    }
    return std::move(result_);
  }

 private:
  /// The boundaries of all members' ranges in the file `f`, in order.
  std::vector<Boundary> BoundariesOf(size_t f) {
    std::vector<Boundary> boundaries;
    for (size_t m = 0; m < members_.size(); ++m) {
      // Each member's files come in the same order.
      if (next_[m] == members_[m].size()) continue;
      const FileNeeds& file = members_[m][next_[m]];
      if (file.name != result_.files[f].name) continue;
      ++next_[m];
      for (const FileRange& range : file.ranges) {
        boundaries.push_back({range.begin, m});
        boundaries.push_back({range.end, m});
      }
    }
    std::sort(boundaries.begin(), boundaries.end(),
              [](const Boundary& a, const Boundary& b) { return a.at < b.at; });
    return boundaries;
  }

  void FindCommon(size_t f) {
    uint64_t takers = 0;
    int64_t begin = 0;
    for (const Boundary& boundary : BoundariesOf(f)) {
      if (boundary.at > begin && takers != 0) {
        AddRange(f, {.begin = begin, .end = boundary.at}, takers);
      }
      // Ranges of one member are apart: each boundary is the other kind.
      takers ^= uint64_t{1} << boundary.member;
      begin = boundary.at;
    }
  }

  void AddRange(size_t f, FileRange range, uint64_t takers) {
    const int64_t nbytes = range.end - range.begin;
    if (nbytes > kMaxPoolNbytes - nbytes_) is_absurd_ = true;
    if (is_absurd_) return;
    nbytes_ += nbytes;
    const int count = std::popcount(takers);
    needed_ += nbytes * count;
    if (count == 1) {
      to_read_[static_cast<size_t>(std::countr_zero(takers))] += nbytes;
      return;
    }
    saved_ += nbytes * (count - 1);
    common_nbytes_ += nbytes;
    if (!common_.empty()) {
      CommonRange& last = common_.back();
      if (last.file == f && last.takers == takers &&
          last.range.end == range.begin) {
        last.range.end = range.end;
        return;
      }
    }
    common_.push_back({.file = f, .range = range, .takers = takers});
  }

  bool IsWorthIt() const {
    return !is_absurd_ && saved_ >= kMinSavedNbytes &&
           saved_ >= needed_ / kMinSavedShare &&
           common_nbytes_ / kMinCommonNbytes >=
               static_cast<int64_t>(common_.size());
  }

  void Cut(const CommonRange& common) {
    const int64_t overhang =
        result_.files[common.file].in_cells ? 0 : kPieceOverhang;
    for (int64_t begin = common.range.begin; begin < common.range.end;
         begin += kMaxPieceNbytes) {
      const int64_t end = std::min(begin + kMaxPieceNbytes, common.range.end);
      const int64_t read_end = std::min(end + overhang, common.range.end);
      const size_t reader = LeastBusy(common.takers);
      result_.pieces.push_back({.file = common.file,
                                .begin = begin,
                                .end = end,
                                .read_end = read_end,
                                .reader = reader,
                                .number = result_.piece_counts[reader]++,
                                .takers = common.takers});
      to_read_[reader] += end - begin;
      result_.piece_nbytes = std::max(result_.piece_nbytes, read_end - begin);
    }
  }

  size_t LeastBusy(uint64_t among) const {
    size_t best = static_cast<size_t>(std::countr_zero(among));
    for (uint64_t rest = among; rest != 0; rest &= rest - 1) {
      const auto member = static_cast<size_t>(std::countr_zero(rest));
      if (to_read_[member] < to_read_[best]) best = member;
    }
    return best;
  }

  const std::span<const PoolNeeds> members_;
  std::vector<size_t> next_;      // file, by member
  std::vector<int64_t> to_read_;  // bytes, by member
  std::vector<CommonRange> common_;
  int64_t nbytes_ = 0;         // that somebody needs: kMaxPoolNbytes at most
  int64_t common_nbytes_ = 0;  // of common_
  int64_t needed_ = 0;
  int64_t saved_ = 0;
  bool is_absurd_ = false;
  PoolDivision result_;
};

}  // namespace

PoolDivision DividePool(std::span<const PoolNeeds> members) {
  return Divider(members).Run();
}

}  // namespace dcp
