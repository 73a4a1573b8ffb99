// The block of a rank: what is the same of a local plan for all ranks that list
// the same keys, as the bytes that a rank sends of it. KeyBlocks reads them.

#ifndef DCP_PLAN_KEY_BLOCK_H_
#define DCP_PLAN_KEY_BLOCK_H_

#include <cstdint>
#include <string>

#include "dcp/plan.h"
#include "plan/plan_wire.h"

namespace dcp {

/// An item but for its chunk, its bytes and its source.
struct KeyEntry {
  std::string fqn;
  WriteItemType type = WriteItemType::kTensor;
  TensorProperties properties;
  Dims global_size;  ///< empty for kByteIo
  /// Whether the entry before is a tensor of the same global size, as this is.
  bool repeats_size = false;
  /// Whether 64 bits count the bytes of the global size, and so of any chunk.
  bool is_countable = false;

  bool is_object() const { return type == WriteItemType::kByteIo; }
  int64_t itemsize() const { return ItemSize(properties.dtype); }
  bool operator==(const KeyEntry&) const = default;
};

/// Plans of equal keys have equal blocks.
std::string SerializeKeyBlock(const SavePlan& plan);
/// Reads the entry after `previous`, where `size` is that of the tensor before,
/// empty if there is none. Of anything malformed it fails `in`.
KeyEntry GetEntry(const KeyEntry& previous, const Dims& size, WireReader* in);

}  // namespace dcp

#endif  // DCP_PLAN_KEY_BLOCK_H_
