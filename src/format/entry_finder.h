// EntryFinder: positions of entries, for who asks for one after the other.

#ifndef DCP_FORMAT_ENTRY_FINDER_H_
#define DCP_FORMAT_ENTRY_FINDER_H_

#include <cstddef>
#include <string_view>

#include "dcp/metadata.h"

namespace dcp {

/// Knows where the last key was. One thread at a time.
class EntryFinder {
 public:
  /// `metadata` outlives the finder; its entries stay as they are.
  explicit EntryFinder(const Metadata& metadata) : metadata_(metadata) {}

  /// Position of the entry `fqn`, entries().size() if there is none.
  ///
  /// Ranks list their keys nearly in the order of the entries, and hash tables
  /// are walked nearly in the order of insertion, or its reverse: the wanted
  /// entry mostly lies a few places from the last one that was near, and
  /// nothing needs to be hashed. Single keys in between (which share a bucket)
  /// do not move that place.
  size_t Position(std::string_view fqn);

 private:
  /// Whether `fqn` is `step` places from near_, which is then that place.
  bool Take(size_t step, std::string_view fqn);

  const Metadata& metadata_;
  size_t near_ = 0;
  size_t step_ = 0;  // to near_ from the place before; wraps around
  int far_count_ = 0;
};

}  // namespace dcp

#endif  // DCP_FORMAT_ENTRY_FINDER_H_
