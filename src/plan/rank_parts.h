// RankParts: what one rank writes, in closed form.

#ifndef DCP_PLAN_RANK_PARTS_H_
#define DCP_PLAN_RANK_PARTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "plan/holder_classes.h"
#include "plan/holder_shares.h"

namespace dcp {

/// The part of a chunk that a rank writes.
struct Part {
  bool is_whole = true;
  int64_t row_begin = 0;  ///< of a piece
  int64_t rows = 0;
};

/// One thread at a time: it keeps what it has worked out. Refers to what it is
/// made of.
class RankParts {
 public:
  /// `shares` are by key; nullptr for everything to the lowest holder.
  RankParts(const HolderClasses& holders, const std::vector<KeyShares>* shares,
            uint32_t rank);

  const StateSpec& spec() const { return spec_; }
  uint32_t KeyOf(size_t entry) const {
    return holders_.KeysOf(spec_number_)[entry];
  }

  /// What the rank writes of its chunk of an entry; nullopt if nothing.
  std::optional<Part> PartOf(size_t entry);
  /// The chunk of an entry that is a tensor.
  Box BoxOf(size_t entry);

 private:
  struct LaidOut {
    bool is_known = false;
    Box chunk;
    std::vector<int> empty;  ///< the sharded dimensions without a row
    /// The class for which is_lowest is known; -1 for none.
    int64_t lowest_in = -1;
    bool is_lowest = false;
  };

  const Seat& SeatFor(uint32_t key) const {
    return seats_[holders_.keys()[key].holder_class];
  }
  LaidOut& ChunkOf(uint32_t layout, uint32_t key);
  /// Whether this is the lowest of the ranks that hold its chunk of a key,
  /// which is a whole tensor or an object if `laid_out` is null.
  bool IsLowest(const LaidOutTensor* laid_out, uint32_t key);
  /// Where the lowest of the ranks is in a grid that hold this chunk.
  Dims LowestOf(const LaidOut& chunk, const TensorLayout& layout,
                const HolderClass& in, const Seat& seat) const;
  /// Whether `seat` is the lowest of the ranks at `lowest` in the grids.
  bool IsLowestAt(const HolderClass& in, const Seat& seat,
                  const Dims& lowest) const;

  const HolderClasses& holders_;
  const std::vector<KeyShares>* shares_;
  uint32_t spec_number_;
  const StateSpec& spec_;
  std::vector<Seat> seats_;  // by class; of those in which it has none, empty
  std::vector<LaidOut> laid_out_;  // by layout
};

}  // namespace dcp

#endif  // DCP_PLAN_RANK_PARTS_H_
