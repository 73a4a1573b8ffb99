// PlanColumns: the local plans of all ranks, by key.

#ifndef DCP_PLAN_PLAN_COLUMNS_H_
#define DCP_PLAN_PLAN_COLUMNS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dcp/plan.h"
#include "plan/item_ref.h"
#include "plan/key_blocks.h"
#include "plan/plan_message.h"

namespace dcp {

/// All that ranks hold of one fqn: `count` records, by rank and item.
struct KeyColumn {
  const KeyEntry* first = nullptr;  ///< the lowest rank's
  uint32_t first_rank = 0;
  size_t begin = 0;  ///< of its records among those of all keys
  size_t count = 0;
  int ndim = 0;
  /// Of its extents: two numbers a record and dimension, each of one word, or
  /// of two where the tensor is larger than one can say.
  size_t words_begin = 0;
  size_t words_per_number = 1;
  /// By record, -1 for that of its elements; empty if all are.
  std::vector<int64_t> odd_nbytes;

  size_t words_per_record() const {
    return static_cast<size_t>(ndim) * 2 * words_per_number;
  }
};

/// Immutable. 8 bytes a record and 8 more for each of its dimensions, and 4 for
/// each key of a rank whose keys are not all those of another.
class PlanColumns {
 public:
  /// Reads the messages of all ranks, and frees each that is read.
  /// \error kDataLoss, kFailedPrecondition  as SplitPlanMessage; names the rank
  /// \error kInvalidArgument  what ItemGroups finds in single items
  static StatusOr<PlanColumns> Read(std::span<std::string> messages);

  size_t rank_count() const { return ranks_.size(); }
  const KeyBlock& BlockOf(size_t rank) const { return *ranks_[rank].block; }
  const KeyEntry& EntryOf(ItemRef ref) const {
    return entries_.EntryOf(BlockOf(ref.rank).entries[ref.item]);
  }
  /// The number of the first of its items among those of all ranks, by rank.
  size_t FirstItemOf(size_t rank) const { return ranks_[rank].first_item; }
  size_t record_count() const { return record_count_; }
  /// Bytes that each rank holds.
  int64_t HeldNbytesOf(size_t rank) const { return ranks_[rank].held_nbytes; }

  /// In the order in which they first appear.
  std::span<const KeyColumn> keys() const { return keys_; }
  std::optional<PlannerPaths> TakePaths() { return entries_.TakePaths(); }

  // Of record `i` of `key`:
  ItemRef RefOf(const KeyColumn& key, size_t i) const {
    return refs_[key.begin + i];
  }
  Extent ExtentOf(const KeyColumn& key, size_t i, int dim) const {
    const uint32_t* words =
        &words_[key.words_begin + i * key.words_per_record() +
                static_cast<size_t>(dim) * 2 * key.words_per_number];
    if (key.words_per_number == 1) return {.begin = words[0], .size = words[1]};
    return {.begin = Wide(words), .size = Wide(words + 2)};
  }
  Box ChunkOf(const KeyColumn& key, size_t i) const;
  int64_t NumelOf(const KeyColumn& key, size_t i) const;
  int64_t NbytesOf(const KeyColumn& key, size_t i) const;
  /// As its rank listed it.
  WriteItem ItemOf(const KeyColumn& key, size_t i) const;

 private:
  friend class PlanColumnsReader;

  /// Items from `item` on have sources that count on from `source`.
  struct SourceRun {
    uint32_t item = 0;
    int64_t source = 0;
  };
  struct Rank {
    const KeyBlock* block = nullptr;
    size_t first_item = 0;
    int64_t held_nbytes = 0;
    std::vector<SourceRun> sources;  // empty: those of the items' numbers
  };

  static int64_t Wide(const uint32_t* words) {
    return static_cast<int64_t>(uint64_t{words[1]} << 32 | words[0]);
  }
  int64_t SourceOf(ItemRef ref) const;

  KeyBlocks entries_;
  std::vector<std::unique_ptr<const KeyBlock>> blocks_;
  std::vector<Rank> ranks_;
  std::vector<KeyColumn> keys_;
  size_t record_count_ = 0;
  std::unique_ptr<ItemRef[]> refs_;    // by key, then rank
  std::unique_ptr<uint32_t[]> words_;  // extents, in the same order
};

}  // namespace dcp

#endif  // DCP_PLAN_PLAN_COLUMNS_H_
