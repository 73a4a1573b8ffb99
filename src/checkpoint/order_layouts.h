// The layouts of an order's tensors, as bytes: each once.

#ifndef DCP_CHECKPOINT_ORDER_LAYOUTS_H_
#define DCP_CHECKPOINT_ORDER_LAYOUTS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/wire.h"
#include "dcp/checkpoint.h"

namespace dcp {

using MeshLayouts = std::vector<std::shared_ptr<const MeshLayout>>;

/// The layouts of entries, and their numbers.
class OrderLayouts {
 public:
  explicit OrderLayouts(std::span<const SaveEntry> entries);

  /// 0 for a shard without a layout, or one without a mesh; else its number,
  /// from 1 on.
  uint64_t NumberOf(const TensorShard& shard) const {
    const auto number = numbers_.find(shard.layout.get());
    return number == numbers_.end() ? 0 : number->second;
  }
  void Put(WireWriter& out) const;

 private:
  std::vector<const MeshLayout*> layouts_;  // by number - 1
  std::unordered_map<const MeshLayout*, uint64_t> numbers_;
};

/// Reads what Put wrote; of anything malformed it fails `in`.
MeshLayouts GetLayouts(WireReader& in);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_ORDER_LAYOUTS_H_
