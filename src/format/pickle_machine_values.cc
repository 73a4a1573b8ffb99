// Scalars and containers of PickleMachine.

#include <algorithm>
#include <bit>
#include <cstring>

#include "format/pickle_machine.h"
#include "format/utf8.h"

namespace dcp {
namespace {

constexpr size_t kMaxDepth = 0x7f;  // of PickleNode::depth
// Parts of one key, each as often as it is there: tuples can unfold.
constexpr size_t kMaxKeyParts = 1000;

}  // namespace

bool PickleMachine::PushInt(int64_t value) {
  if (value >= 0 && value < 256) {
    return Push(kSmallIntId + static_cast<PickleId>(value));
  }
  return PushNode({.kind = PickleKind::kInt, .integer = value});
}

bool PickleMachine::OnBinInt() {
  int32_t value = 0;
  return ReadFixed(&value) && PushInt(value);
}

bool PickleMachine::OnBinInt2() {
  uint16_t value = 0;
  return ReadFixed(&value) && PushInt(value);
}

bool PickleMachine::OnLong1() {
  uint8_t nbytes = 0;
  if (!ReadFixed(&nbytes)) return false;
  if (nbytes > remaining()) return Fail("the number is truncated");
  const char* bytes = data_.data() + position_;
  position_ += nbytes;
  if (nbytes > sizeof(int64_t)) {
    return PushNode({.kind = PickleKind::kBigInt});
  }
  // Little-endian two's complement; the last byte has the sign.
  uint64_t value = 0;
  std::memcpy(&value, bytes, nbytes);
  const unsigned unused_bits = 64 - 8 * unsigned{nbytes};
  if (nbytes == 0) return PushInt(0);
  return PushInt(static_cast<int64_t>(value << unused_bits) >> unused_bits);
}

bool PickleMachine::OnBinFloat() {
  uint64_t big_endian = 0;
  if (!ReadFixed(&big_endian)) return false;
  PickleNode node{.kind = PickleKind::kFloat};
  node.real = std::bit_cast<double>(__builtin_bswap64(big_endian));
  return PushNode(node);
}

bool PickleMachine::PushText(PickleKind kind, uint64_t nbytes) {
  if (nbytes > remaining()) return Fail("the string is truncated");
  if (nbytes > options_.max_string_nbytes)
    return Fail("the string is too long");
  const size_t start = position_;
  position_ += static_cast<size_t>(nbytes);
  if (kind == PickleKind::kString &&
      !IsValidUtf8(data_.substr(start, static_cast<size_t>(nbytes)))) {
    return Fail("the string is not UTF-8");
  }
  return PushNode({.kind = kind,
                   .a = static_cast<uint32_t>(nbytes),
                   .integer = static_cast<int64_t>(start)});
}

template <typename Length, PickleKind kKind>
bool PickleMachine::OnText() {
  Length nbytes = 0;
  return ReadFixed(&nbytes) && PushText(kKind, nbytes);
}
template bool PickleMachine::OnText<uint8_t, PickleKind::kString>();
template bool PickleMachine::OnText<uint32_t, PickleKind::kString>();
template bool PickleMachine::OnText<uint64_t, PickleKind::kString>();
template bool PickleMachine::OnText<uint8_t, PickleKind::kBytes>();
template bool PickleMachine::OnText<uint32_t, PickleKind::kBytes>();
template bool PickleMachine::OnText<uint64_t, PickleKind::kBytes>();

/// Replaces stack_[first..] by a tuple of it.
bool PickleMachine::PushTuple(size_t first) {
  PickleNode node{.kind = PickleKind::kTuple, .depth = 1};
  node.a = static_cast<uint32_t>(graph_.children_.size());
  node.b = static_cast<uint32_t>(stack_.size() - first);
  node.c = 0;
  if (!Charge(sizeof(PickleId) * node.b)) return false;
  for (size_t i = first; i < stack_.size(); ++i) {
    const size_t depth = graph_.nodes_[stack_[i]].depth + size_t{1};
    if (depth > options_.max_nesting) return Fail("nested too deeply");
    if (depth > node.depth) node.depth = depth & kMaxDepth;
    graph_.children_.push_back(stack_[i]);
  }
  stack_.resize(first);
  return PushNode(node);
}

template <size_t kCount>
bool PickleMachine::OnShortTuple() {
  return Need(kCount) && PushTuple(stack_.size() - kCount);
}
template bool PickleMachine::OnShortTuple<1>();
template bool PickleMachine::OnShortTuple<2>();
template bool PickleMachine::OnShortTuple<3>();

bool PickleMachine::OnTuple() {
  size_t first = 0;
  if (!PopMark(&first)) return false;
  if (first == stack_.size()) return Push(kEmptyTupleId);
  return PushTuple(first);
}

/// Moves stack_[first..] to the end of `container`.
bool PickleMachine::Extend(PickleId container, size_t first) {
  const size_t count = stack_.size() - first;
  if (!Charge(sizeof(PickleId) * count)) return false;
  PickleNode& node = graph_.nodes_[container];
  for (size_t i = first; i < stack_.size(); ++i) {
    const size_t depth = graph_.nodes_[stack_[i]].depth + size_t{1};
    if (depth > options_.max_nesting) return Fail("nested too deeply");
    if (depth > node.depth) node.depth = depth & kMaxDepth;
  }
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(first);
  std::vector<PickleId>& children = graph_.children_;
  if (node.c == 0 && node.b == 0) {
    node.a = static_cast<uint32_t>(children.size());
  }
  if (node.c == 0 && node.a + node.b == children.size()) {
    children.insert(children.end(), begin, stack_.end());
    node.b += static_cast<uint32_t>(count);
  } else {
    if (node.c == 0) {
      // Others came in between: the children move to a list of their own.
      const auto moved = children.begin() + node.a;
      if (!Charge(sizeof(PickleId) * node.b)) return false;
      graph_.overflow_.emplace_back(moved, moved + node.b);
      node.c = static_cast<uint32_t>(graph_.overflow_.size());
    }
    std::vector<PickleId>& own = graph_.overflow_[node.c - 1];
    own.insert(own.end(), begin, stack_.end());
  }
  stack_.resize(first);
  return true;
}

/// Moves stack_[first..] into the object below it, a `kind`. What goes into
/// opaque containers (a foreign subclass of dict) is dropped with the object.
bool PickleMachine::Fill(PickleKind kind, size_t first) {
  const PickleId target = stack_[first - 1];
  const PickleNode& node = graph_[target];
  if (node.sealed != 0) return Fail("the target is in use already");
  if (node.kind == kind) return Extend(target, first);
  const bool is_instance =
      node.kind == PickleKind::kReduce || node.kind == PickleKind::kObject;
  if (!is_instance ||
      graph_.callable_global(target) != PickleGlobal::kForeign) {
    return Fail("the target is " + DescribePickle(graph_, target));
  }
  stack_.resize(first);
  return true;
}

bool PickleMachine::OnAppend() {
  return Need(2) && Fill(PickleKind::kList, stack_.size() - 1);
}

bool PickleMachine::OnAppends() {
  size_t first = 0;
  if (!PopMark(&first)) return false;
  if (first == fence_) return Fail("there is no list below MARK");
  return Fill(PickleKind::kList, first);
}

/// Whether Python could hash `id`. Sets are taken for frozen ones, and what
/// instances are hashed by is theirs.
bool PickleMachine::CheckHashable(PickleId id, size_t* visits) {
  if (++*visits > kMaxKeyParts) return Fail("the key is too large");
  const PickleKind kind = graph_.kind(id);
  if (kind == PickleKind::kList || kind == PickleKind::kDict) {
    return Fail("a list or dict cannot be a key");
  }
  if (kind != PickleKind::kTuple) return true;
  for (const PickleId part : graph_.items(id)) {
    if (!CheckHashable(part, visits)) return false;
  }
  return true;
}

/// Whether each `step`-th of stack_[first..] is hashable, and nothing is left.
bool PickleMachine::CheckKeys(size_t first, size_t step) {
  if ((stack_.size() - first) % step != 0) return Fail("a key has no value");
  for (size_t i = first; i < stack_.size(); i += step) {
    size_t visits = 0;
    if (!CheckHashable(stack_[i], &visits)) return false;
  }
  return true;
}

bool PickleMachine::OnSetItem() {
  if (!Need(3) || !CheckKeys(stack_.size() - 2, 2)) return false;
  return Fill(PickleKind::kDict, stack_.size() - 2);
}

bool PickleMachine::OnSetItems() {
  size_t first = 0;
  if (!PopMark(&first)) return false;
  if (first == fence_) return Fail("there is no dict below MARK");
  return CheckKeys(first, 2) && Fill(PickleKind::kDict, first);
}

bool PickleMachine::OnAddItems() {
  size_t first = 0;
  if (!PopMark(&first)) return false;
  if (first == fence_ || graph_.kind(stack_[first - 1]) != PickleKind::kSet) {
    return Fail("not a set");
  }
  if (!CheckKeys(first, 1)) return false;
  stack_.resize(first);
  return true;
}

bool PickleMachine::OnFrozenSet() {
  size_t first = 0;
  if (!PopMark(&first) || !CheckKeys(first, 1)) return false;
  stack_.resize(first);
  return PushNode({.kind = PickleKind::kSet});
}

}  // namespace dcp
