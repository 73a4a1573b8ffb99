// PickleGraph: the values of a pickle, as plain data.
//
// Calls and instances stay symbolic: REDUCE gives a node "callable, arguments",
// NEWOBJ and BUILD a node "class, arguments, state". Whoever decodes the graph
// gives a meaning to the few classes that it knows; nothing else can happen.

#ifndef DCP_FORMAT_PICKLE_VALUE_H_
#define DCP_FORMAT_PICKLE_VALUE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/pickle_globals.h"

namespace dcp {

/// Index of a node in its graph.
using PickleId = uint32_t;
inline constexpr PickleId kNoPickleId = 0xffffffff;

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  ///< does not fit int64; the value is not kept
  kFloat,
  kString,
  kBytes,
  kTuple,
  kList,
  kDict,
  kSet,     ///< set or frozenset; the elements are not kept
  kGlobal,  ///< a class or a function, by name
  kReduce,  ///< callable(*arguments), not called
  kObject,  ///< an instance of a class
  kPersistentId,
};

/// "a dict", for messages.
std::string_view PickleKindName(PickleKind kind);

/// One value; 16 bytes, because a large checkpoint has tens of millions. What
/// the fields hold depends on `kind`; PickleGraph's accessors know.
struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  uint8_t depth : 7 = 0;   ///< nesting of containers, 0 for scalars
  uint8_t sealed : 1 = 0;  ///< whether Python has copied the container by now
  PickleGlobal global = PickleGlobal::kForeign;  ///< kGlobal
  DType dtype = DType::kFloat32;                 ///< kGlobal
  uint32_t a = 0;
  union {
    int64_t integer = 0;
    double real;
    struct {
      uint32_t b;
      uint32_t c;
    };
  };
};
static_assert(sizeof(PickleNode) == 16);

/// The graph that ReadPickle built. Immutable; safe for concurrent reads.
///
/// Strings and bytes are views into the pickle's own bytes, which must outlive
/// the graph. Values may be shared and even cyclic: a decoder must bound its
/// depth and the number of its visits.
class PickleGraph {
 public:
  const PickleNode& operator[](PickleId id) const { return nodes_[id]; }
  PickleId root() const { return root_; }
  size_t size() const { return nodes_.size(); }
  /// Of the pickle.
  size_t nbytes() const { return data_.size(); }

  PickleKind kind(PickleId id) const { return nodes_[id].kind; }
  bool is_none(PickleId id) const { return kind(id) == PickleKind::kNone; }

  /// kString, kBytes. Strings are valid UTF-8.
  std::string_view text(PickleId id) const {
    const PickleNode& node = nodes_[id];
    return data_.substr(static_cast<size_t>(node.integer), node.a);
  }

  /// Elements of a kTuple or kList; keys and values in turn of a kDict.
  std::span<const PickleId> items(PickleId id) const {
    const PickleNode& node = nodes_[id];
    if (node.c != 0) return overflow_[node.c - 1];
    return {children_.data() + node.a, node.b};
  }

  /// The class of a kObject, the callable of a kReduce: a kGlobal.
  PickleId callable(PickleId id) const { return nodes_[id].a; }
  PickleGlobal callable_global(PickleId id) const {
    return nodes_[callable(id)].global;
  }
  /// The arguments of a kObject or kReduce: a kTuple.
  PickleId arguments(PickleId id) const { return nodes_[id].b; }
  /// What BUILD gave to a kObject or kReduce, kNoPickleId if nothing.
  PickleId state(PickleId id) const { return nodes_[id].c; }
  /// The value of a kPersistentId.
  PickleId persistent_id(PickleId id) const { return nodes_[id].a; }

  /// "module.name" of a kGlobal.
  std::string GlobalName(PickleId id) const;

  /// Whether `id` is an object or a call of `global`.
  bool Is(PickleId id, PickleKind kind, PickleGlobal global) const {
    return nodes_[id].kind == kind && callable_global(id) == global;
  }

 private:
  friend class PickleMachine;

  std::string_view data_;
  std::vector<PickleNode> nodes_;
  std::vector<PickleId> children_;
  // Children of containers that grew after others were added to children_.
  std::vector<std::vector<PickleId>> overflow_;
  PickleId root_ = kNoPickleId;
};

/// `id` in a few words for messages: "a str", "an object of megatron.X".
std::string DescribePickle(const PickleGraph& graph, PickleId id);

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_VALUE_H_
