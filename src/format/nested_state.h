// NestedState: the nested state dict that flat keys and their paths describe.

#ifndef DCP_FORMAT_NESTED_STATE_H_
#define DCP_FORMAT_NESTED_STATE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// A dict, a list, a leaf, or a gap in a list (None).
///
/// torch 2.13 _traverse.py set_element: a part of a path that is a str makes a
/// dict, one that is an int a list. Not thread-safe.
class NestedState {
 public:
  enum class Kind : uint8_t { kGap, kLeaf, kDict, kList };

  /// An empty dict.
  NestedState() : kind_(Kind::kDict) {}

  Kind kind() const { return kind_; }
  size_t leaf() const { return leaf_; }
  /// Of a dict, in the order in which they were added.
  const std::vector<std::pair<std::string, std::unique_ptr<NestedState>>>&
  dict() const {
    return dict_;
  }
  const std::vector<std::unique_ptr<NestedState>>& list() const {
    return list_;
  }

  /// Puts `leaf` at `path` of this dict; at the top-level key `fqn` if another
  /// leaf is on the way.
  /// \error kDataLoss  there is another value at that place, or the path is no
  ///     path: too deep, or of positions far beyond a list's end
  Status Add(const std::string& fqn, const ObjectPath& path, size_t leaf);

 private:
  explicit NestedState(Kind kind) : kind_(kind) {}

  /// The value at `part`, made if there is none; null if this is no container
  /// for it.
  NestedState* Child(const PathItem& part, Kind kind);
  NestedState* Descend(const ObjectPath& path);

  Kind kind_;
  size_t leaf_ = 0;
  std::vector<std::pair<std::string, std::unique_ptr<NestedState>>> dict_;
  std::unordered_map<std::string, size_t> positions_;  // in dict_
  std::vector<std::unique_ptr<NestedState>> list_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_NESTED_STATE_H_
