// A local plan on its way to the coordinator: keys once, records short.
//
// What a rank sends is its block of keys (key_block.h), by which ranks of the
// same keys are alike, and one record an item of what is the rank's own: 1 byte
// for a whole tensor or for the chunk of the tensor before, 4 to 8 bytes for
// rows of one. The coordinator needs a block once: of a message whose block
// came with a lower rank's, the digest is enough (StripBlock).

#ifndef DCP_PLAN_PLAN_MESSAGE_H_
#define DCP_PLAN_PLAN_MESSAGE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/digest128.h"
#include "base/wire.h"
#include "dcp/plan.h"
#include "plan/key_blocks.h"

namespace dcp {

/// The message of a rank. Objects have no chunk. Equal plans have equal bytes.
std::string SerializePlanMessage(const SavePlan& plan);

/// The parts of a message, which views into it.
struct PlanMessage {
  Digest128 block_digest;
  std::string_view block;  ///< empty: the one of this digest that came before
  std::string_view records;
};

/// \error kDataLoss  truncated or malformed
/// \error kFailedPrecondition  written by a version that this one cannot read
StatusOr<PlanMessage> SplitPlanMessage(std::string_view data);

/// `message` without its block.
std::string StripBlock(const PlanMessage& message);

/// Where a chunk lies in one dimension.
struct Extent {
  int64_t begin = 0;
  int64_t size = 0;
  int64_t end() const { return begin + size; }
  bool operator==(const Extent&) const = default;
};

/// Reads the records of one message, one after the other.
class RecordReader {
 public:
  /// `block`, of `keys`, and what `records` views must outlive the reader.
  RecordReader(const KeyBlocks& keys, const KeyBlock& block,
               std::string_view records)
      : keys_(keys),
        block_(block),
        in_(records, "the records of a save plan") {}

  /// Reads the record of the next item, of which there must be one. False if
  /// there is none.
  bool Next();
  /// kDataLoss unless all was read, and all of it is well-formed.
  Status Finish() const { return in_.Finish(); }

  // Of the record read last:

  /// Whether the chunk is in bounds; if not, only Item() has it.
  bool is_in_bounds() const { return is_in_bounds_; }
  /// By dimension.
  const Extent* extents() const { return extents_.data(); }
  int64_t nbytes() const { return nbytes_; }
  /// Whether these are the elements' bytes.
  bool is_plain() const { return is_plain_; }
  int64_t source() const { return source_; }
  WriteItem Item() const;

 private:
  const KeyEntry& entry() const { return *entry_; }
  void ReadChunk(uint8_t form);
  void ReadExtent(uint64_t begin, int dim);
  void ReadStray();
  Box Chunk() const;
  int64_t PlainNbytes() const;

  const KeyBlocks& keys_;
  const KeyBlock& block_;
  WireReader in_;
  size_t next_ = 0;
  const KeyEntry* entry_ = nullptr;  // of the record read last
  bool is_in_bounds_ = true;
  Box stray_;  // the chunk, if it is not
  std::array<Extent, Dims::kMaxDims> extents_;
  int64_t nbytes_ = 0;
  bool is_plain_ = true;
  int64_t source_ = -1;
};

}  // namespace dcp

#endif  // DCP_PLAN_PLAN_MESSAGE_H_
