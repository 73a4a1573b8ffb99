// PickleMachine: the stack machine behind ReadPickle.
//
// 1. Values live in one arena and are named by their index. The stack and the
//    memo hold indices; there is no recursion and no reference count.
// 2. A length is compared with the bytes that are left before anything is
//    allocated for it; Charge() bounds the sum of all allocations.
// 3. `fence_` is the height of the stack at the last MARK. No opcode may pop
//    below it, as in CPython.
// 4. Handlers return false after Fail(). The first failure ends the run.

#ifndef DCP_FORMAT_PICKLE_MACHINE_H_
#define DCP_FORMAT_PICKLE_MACHINE_H_

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "format/pickle_opcodes.h"
#include "format/pickle_reader.h"
#include "format/pickle_value.h"

namespace dcp {

class PickleMachine {
 public:
  PickleMachine(std::string_view data, const PickleOptions& options);
  StatusOr<PickleGraph> Run() &&;

 private:
  using Handler = bool (PickleMachine::*)();
  using HandlerTable = std::array<Handler, 256>;
  static constexpr HandlerTable MakeHandlers();

  // The machine (pickle_machine.cc).
  bool Step();
  bool Fail(std::string_view why);
  Status Error(size_t opcode_position) const;
  Status CheckEnd() const;
  size_t remaining() const { return data_.size() - position_; }
  bool Charge(size_t nbytes);
  bool Need(size_t count);
  bool Push(PickleId id);
  PickleId Pop();
  PickleId top() const { return stack_.back(); }
  PickleId AddNode(const PickleNode& node);
  bool PushNode(const PickleNode& node);
  bool PopMark(size_t* first);
  template <typename T>
  bool ReadFixed(T* value);

  // Scalars (pickle_machine_values.cc).
  bool OnNone() { return Push(kNoneId); }
  bool OnTrue() { return Push(kTrueId); }
  bool OnFalse() { return Push(kFalseId); }
  bool PushInt(int64_t value);
  bool OnBinInt();
  bool OnBinInt1();
  bool OnBinInt2();
  bool OnLong1();
  bool OnBinFloat();
  bool PushText(PickleKind kind, uint64_t nbytes);
  template <typename Length, PickleKind kKind>
  bool OnText();

  // Containers (pickle_machine_values.cc).
  bool OnEmptyTuple() { return Push(kEmptyTupleId); }
  bool OnEmptyList() { return PushNode({.kind = PickleKind::kList}); }
  bool OnEmptyDict() { return PushNode({.kind = PickleKind::kDict}); }
  bool OnEmptySet() { return PushNode({.kind = PickleKind::kSet}); }
  bool PushTuple(size_t first);
  template <size_t kCount>
  bool OnShortTuple();
  bool OnTuple();
  bool Extend(PickleId container, size_t first);
  bool Fill(PickleKind kind, size_t first);
  void Seal(PickleId id);
  bool OnAppend();
  bool OnAppends();
  bool CheckHashable(PickleId id, size_t* visits);
  bool CheckKeys(size_t first, size_t step);
  bool OnSetItem();
  bool OnSetItems();
  bool OnAddItems();
  bool OnFrozenSet();

  // Structure (pickle_machine.cc).
  bool OnProto();
  bool OnFrame();
  bool OnMark();
  bool OnStop();
  bool OnMemoize() { return PutAt(memo_.size()); }
  bool PutAt(uint64_t index);
  bool Get(uint64_t index);
  template <typename Index>
  bool OnPut();
  template <typename Index>
  bool OnGet();

  // Globals and objects (pickle_machine_objects.cc).
  bool ReadLine(PickleId* line);
  bool PushGlobal(PickleId module, PickleId name);
  bool OnGlobal();
  bool OnStackGlobal();
  bool PushCall(PickleKind kind);
  bool OnReduce();
  bool OnNewObj();
  bool OnBuild();
  bool OnBinPersId();

  // Nodes that every graph starts with.
  static constexpr PickleId kNoneId = 0;
  static constexpr PickleId kFalseId = 1;
  static constexpr PickleId kTrueId = 2;
  static constexpr PickleId kEmptyTupleId = 3;
  static constexpr PickleId kSmallIntId = 4;  // and the 255 after it

  const std::string_view data_;
  const PickleOptions options_;
  const size_t max_charge_;
  PickleGraph graph_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::vector<PickleId> memo_;
  size_t position_ = 0;
  size_t fence_ = 0;
  size_t frame_end_ = 0;
  size_t charged_ = 0;
  bool stopped_ = false;
  std::string error_;
};

// The steps that nearly every opcode takes are inline: a pickle of a large
// checkpoint has tens of millions of opcodes.

inline bool PickleMachine::Charge(size_t nbytes) {
  charged_ += nbytes;
  return charged_ <= max_charge_ || Fail("the pickle needs too much memory");
}

inline bool PickleMachine::Need(size_t count) {
  return stack_.size() - fence_ >= count || Fail("the stack is too short");
}

inline bool PickleMachine::Push(PickleId id) {
  if (stack_.size() >= options_.max_stack) return Fail("the stack is too high");
  stack_.push_back(id);
  return true;
}

inline PickleId PickleMachine::Pop() {
  const PickleId id = stack_.back();
  stack_.pop_back();
  return id;
}

inline PickleId PickleMachine::AddNode(const PickleNode& node) {
  graph_.nodes_.push_back(node);
  return static_cast<PickleId>(graph_.nodes_.size() - 1);
}

inline bool PickleMachine::PushNode(const PickleNode& node) {
  return Charge(sizeof(node)) && Push(AddNode(node));
}

inline bool PickleMachine::PutAt(uint64_t index) {
  // CPython numbers the memo densely. Anything else is a memory bomb.
  if (index != memo_.size()) return Fail("the memo index is out of turn");
  if (!Need(1) || !Charge(sizeof(PickleId))) return false;
  memo_.push_back(stack_.back());
  return true;
}

inline bool PickleMachine::Get(uint64_t index) {
  if (index >= memo_.size()) return Fail("the memo has no such index");
  return Push(memo_[static_cast<size_t>(index)]);
}

template <typename T>
bool PickleMachine::ReadFixed(T* value) {
  if (remaining() < sizeof(T)) return Fail("the pickle is truncated");
  std::memcpy(value, data_.data() + position_, sizeof(T));
  position_ += sizeof(T);
  return true;
}

template <typename Index>
bool PickleMachine::OnGet() {
  Index index = 0;
  return ReadFixed(&index) && Get(index);
}

inline bool PickleMachine::OnBinInt1() {
  uint8_t value = 0;
  return ReadFixed(&value) && Push(kSmallIntId + PickleId{value});
}

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_MACHINE_H_
