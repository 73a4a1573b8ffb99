// What a `.metadata` file may ask of its readers: memory for copies, and time.

#ifndef DCP_FORMAT_METADATA_LIMITS_H_
#define DCP_FORMAT_METADATA_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "dcp/dims.h"
#include "dcp/metadata.h"

namespace dcp {

/// In a pickle a value that was there before takes two bytes, in Metadata all
/// of its bytes: a small file could ask for any memory. One budget is shared
/// by all copies of a file. Each method returns whether that is still kept.
class CopyBudget {
 public:
  explicit CopyBudget(size_t pickle_nbytes)
      : left_((size_t{32} << 20) + 4 * pickle_nbytes) {}

  bool Take(size_t nbytes) {
    const bool is_enough = nbytes <= left_;
    left_ = is_enough ? left_ - nbytes : 0;
    return is_enough;
  }
  /// A text of which a stored item has one: the name of a tensor is in each of
  /// its chunks' items. Names of a usual length are free, as an item's other
  /// bytes are many enough.
  bool TakeItemText(std::string_view text) {
    return text.size() <= kFreeNbytes || Take(text.size() - kFreeNbytes);
  }
  bool TakeDims(const Dims& dims) { return Take(NbytesOf(dims)); }
  /// `count` items of one entry: its name in each, and a chunk's sizes, its
  /// offsets, and these again in the item's key.
  bool TakeItems(size_t count, std::string_view fqn, const Dims& size) {
    constexpr size_t kDimsOfItem = 3;
    const size_t excess =
        fqn.size() > kFreeNbytes ? fqn.size() - kFreeNbytes : 0;
    const size_t each = excess + kDimsOfItem * NbytesOf(size);
    return each == 0 || (count <= left_ / each && Take(count * each));
  }
  /// An element of a list of texts.
  bool TakeElement(std::string_view text) {
    return Take(sizeof(PathItem) + text.size());
  }

 private:
  static constexpr size_t kFreeNbytes = 512;

  /// Of dims that lie outside of their object.
  static size_t NbytesOf(const Dims& dims) {
    const auto ndim = static_cast<size_t>(dims.size());
    return ndim <= Dims::kInlineDims ? 0 : ndim * sizeof(int64_t);
  }

  size_t left_;
};

/// Whether more keys are in the place of `entry` in `paths` than by chance: its
/// hash is std::hash, for which anybody can choose keys. Asked of each new
/// entry, and with as many places as entries, it keeps time linear.
inline bool IsCrowded(
    const std::unordered_map<std::string, ObjectPath>& paths,
    std::unordered_map<std::string, ObjectPath>::const_iterator entry) {
  constexpr size_t kMostByChance = 64;
  return paths.bucket_size(paths.bucket(entry->first)) > kMostByChance;
}

}  // namespace dcp

#endif  // DCP_FORMAT_METADATA_LIMITS_H_
