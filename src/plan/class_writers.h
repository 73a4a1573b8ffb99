// What the keys of one class give the ranks that hold them.

#ifndef DCP_PLAN_CLASS_WRITERS_H_
#define DCP_PLAN_CLASS_WRITERS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "plan/mesh_layout.h"

namespace dcp {

/// What a class gave its writers, who are spaced evenly among the holders.
class ClassWriters {
 public:
  /// Of `holders` at most `most` write.
  ClassWriters(int64_t holders, int64_t most)
      : holders_(holders),
        given_(static_cast<size_t>(std::min(holders, most))) {}

  size_t count() const { return given_.size(); }
  int64_t HolderOf(size_t writer) const {
    return static_cast<int64_t>(writer) * holders_ / Count();
  }
  int64_t GivenTo(int64_t holder) const {
    const int64_t writer = (holder * Count() + holders_ - 1) / holders_;
    if (writer >= Count()) return 0;
    const auto number = static_cast<size_t>(writer);
    return HolderOf(number) == holder ? given_[number] : 0;
  }
  void Give(size_t writer, int64_t nbytes) { given_[writer] += nbytes; }

 private:
  int64_t Count() const { return static_cast<int64_t>(given_.size()); }

  int64_t holders_;
  std::vector<int64_t> given_;
};

/// Tensors of one layout that have one holder a chunk, of several sizes.
struct UnevenLayout {
  const TensorLayout* layout = nullptr;
  const Dims* mesh_sizes = nullptr;
  int64_t itemsizes = 0;  ///< bytes of all, for each element

  int64_t NbytesAt(const Dims& coordinate) const {
    return itemsizes * KnownChunkAt(*layout, *mesh_sizes, coordinate).numel();
  }
};

}  // namespace dcp

#endif  // DCP_PLAN_CLASS_WRITERS_H_
