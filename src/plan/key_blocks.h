// KeyBlocks: the blocks of keys of all ranks, what they have in common once.

#ifndef DCP_PLAN_KEY_BLOCKS_H_
#define DCP_PLAN_KEY_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dcp/status.h"
#include "plan/byte_runs.h"
#include "plan/key_block.h"

namespace dcp {

/// A rank's keys, of those of all ranks.
struct KeyBlock {
  std::vector<uint32_t> entries;  ///< numbers, by item of the plan
  Ties ties;
};

/// Numbers the distinct entries of blocks, and the keys, in the order in which
/// they first appear. Entries that follow one another in several blocks are
/// compared as bytes, and parsed once: a block that differs by a key of a
/// rank's own costs 4 bytes a key, and little more than the comparison.
class KeyBlocks {
 public:
  /// Reads the next rank's block. `data` must stay until the last is read.
  /// After an error the object is of no more use.
  /// \error kDataLoss  truncated or malformed, or of more dimensions than those
  ///     of any model for its bytes
  StatusOr<KeyBlock> Read(std::string_view data);

  size_t size() const { return entries_.size(); }
  size_t key_count() const { return keys_.size(); }
  /// Valid as long as the object, or the one that it is moved to.
  const KeyEntry& EntryOf(uint32_t number) const {
    return entries_[number]->entry;
  }
  uint32_t KeyOf(uint32_t number) const { return entries_[number]->key; }
  const KeyEntry& FirstOf(uint32_t key) const {
    return EntryOf(keys_[key].first);
  }
  /// Of the planners of all ranks; of one key, the lowest rank's. Moved, since
  /// they are large: once no block is read any more.
  std::optional<PlannerPaths> TakePaths() {
    return std::exchange(paths_, std::nullopt);
  }

 private:
  struct KnownEntry {
    KeyEntry entry;
    uint32_t key = 0;
    uint32_t before = 0;  ///< the number of the key's entry before this
  };
  struct Key {
    uint32_t first = 0;  ///< entry
    uint32_t last = 0;
  };

  Status ReadEntries(KeyBlock* block);
  size_t KnownEntriesAfter(uint32_t last, const Dims& size, size_t most) const;
  std::optional<uint32_t> ReadEntry(const KeyEntry& previous, const Dims& size);
  uint32_t NumberOf(KeyEntry entry, std::string_view bytes);
  Status ReadPaths();
  std::optional<uint32_t> ReadPath(std::optional<uint32_t> last,
                                   PlannerPaths* merged);
  /// To where `in`, of what is left, is. Whether all is well with it.
  bool AdvanceTo(const WireReader& in);
  Status TooManyDims(size_t dims) const;
  Status Malformed() const;

  std::string_view data_;  // the block that is read
  std::string_view rest_;  // of it
  std::vector<std::unique_ptr<const KnownEntry>> entries_;
  std::vector<size_t> dims_before_ = {0};  // by entry, of those before it
  ByteRuns entry_runs_;
  std::vector<Key> keys_;
  std::unordered_map<std::string_view, uint32_t> key_numbers_;
  std::optional<PlannerPaths> paths_;
  std::vector<std::string_view> path_keys_;  // in the order of reading
  ByteRuns path_runs_;
  std::unordered_map<std::string_view, uint32_t> path_numbers_;
};

}  // namespace dcp

#endif  // DCP_PLAN_KEY_BLOCKS_H_
