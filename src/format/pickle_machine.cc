#include "format/pickle_machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dcp {
namespace {

constexpr size_t kArenaFactor = 8;
constexpr size_t kArenaBase = size_t{16} << 20;
// Of `.metadata` files: bytes for one node, at least. Observed: 6.8 to 9.5.
constexpr size_t kTypicalBytesPerNode = 6;

}  // namespace

// All opcodes that are accepted; the others have no handler.
constexpr PickleMachine::HandlerTable PickleMachine::MakeHandlers() {
  using M = PickleMachine;
  using enum PickleKind;
  struct Entry {
    PickleOp op;
    Handler handler;
  };
  constexpr std::array kEntries = {
      Entry{PickleOp::kProto, &M::OnProto},
      Entry{PickleOp::kFrame, &M::OnFrame},
      Entry{PickleOp::kMark, &M::OnMark},
      Entry{PickleOp::kStop, &M::OnStop},
      Entry{PickleOp::kMemoize, &M::OnMemoize},
      Entry{PickleOp::kBinPut, &M::OnPut<uint8_t>},
      Entry{PickleOp::kLongBinPut, &M::OnPut<uint32_t>},
      Entry{PickleOp::kBinGet, &M::OnGet<uint8_t>},
      Entry{PickleOp::kLongBinGet, &M::OnGet<uint32_t>},
      Entry{PickleOp::kNone, &M::OnNone},
      Entry{PickleOp::kNewTrue, &M::OnTrue},
      Entry{PickleOp::kNewFalse, &M::OnFalse},
      Entry{PickleOp::kBinInt, &M::OnBinInt},
      Entry{PickleOp::kBinInt1, &M::OnBinInt1},
      Entry{PickleOp::kBinInt2, &M::OnBinInt2},
      Entry{PickleOp::kLong1, &M::OnLong1},
      Entry{PickleOp::kBinFloat, &M::OnBinFloat},
      Entry{PickleOp::kShortBinUnicode, &M::OnText<uint8_t, kString>},
      Entry{PickleOp::kBinUnicode, &M::OnText<uint32_t, kString>},
      Entry{PickleOp::kBinUnicode8, &M::OnText<uint64_t, kString>},
      Entry{PickleOp::kShortBinBytes, &M::OnText<uint8_t, kBytes>},
      Entry{PickleOp::kBinBytes, &M::OnText<uint32_t, kBytes>},
      Entry{PickleOp::kBinBytes8, &M::OnText<uint64_t, kBytes>},
      Entry{PickleOp::kEmptyTuple, &M::OnEmptyTuple},
      Entry{PickleOp::kTuple1, &M::OnShortTuple<1>},
      Entry{PickleOp::kTuple2, &M::OnShortTuple<2>},
      Entry{PickleOp::kTuple3, &M::OnShortTuple<3>},
      Entry{PickleOp::kTuple, &M::OnTuple},
      Entry{PickleOp::kEmptyList, &M::OnEmptyList},
      Entry{PickleOp::kAppend, &M::OnAppend},
      Entry{PickleOp::kAppends, &M::OnAppends},
      Entry{PickleOp::kEmptyDict, &M::OnEmptyDict},
      Entry{PickleOp::kSetItem, &M::OnSetItem},
      Entry{PickleOp::kSetItems, &M::OnSetItems},
      Entry{PickleOp::kEmptySet, &M::OnEmptySet},
      Entry{PickleOp::kAddItems, &M::OnAddItems},
      Entry{PickleOp::kFrozenSet, &M::OnFrozenSet},
      Entry{PickleOp::kGlobal, &M::OnGlobal},
      Entry{PickleOp::kStackGlobal, &M::OnStackGlobal},
      Entry{PickleOp::kReduce, &M::OnReduce},
      Entry{PickleOp::kNewObj, &M::OnNewObj},
      Entry{PickleOp::kBuild, &M::OnBuild},
      Entry{PickleOp::kBinPersId, &M::OnBinPersId},
  };
  HandlerTable table{};
  for (const Entry& entry : kEntries) {
    table[static_cast<uint8_t>(entry.op)] = entry.handler;
  }
  return table;
}

PickleMachine::PickleMachine(std::string_view data,
                             const PickleOptions& options)
    : data_(data),
      options_(options),
      max_charge_(kArenaFactor * data.size() + kArenaBase) {
  graph_.data_ = data;
  graph_.nodes_.reserve(data.size() / kTypicalBytesPerNode + 512);
  graph_.children_.reserve(data.size() / kTypicalBytesPerNode);
  memo_.reserve(data.size() / kTypicalBytesPerNode);
  stack_.reserve(4096);
  AddNode({.kind = PickleKind::kNone});
  AddNode({.kind = PickleKind::kBool});
  AddNode({.kind = PickleKind::kBool, .integer = 1});
  AddNode({.kind = PickleKind::kTuple, .depth = 1});
  for (int64_t value = 0; value < 256; ++value) {
    AddNode({.kind = PickleKind::kInt, .integer = value});
  }
}

StatusOr<PickleGraph> PickleMachine::Run() && {
  if (data_.empty() || data_[0] != static_cast<char>(PickleOp::kProto)) {
    return DataLoss("pickle does not begin with PROTO");
  }
  while (!stopped_) {
    const size_t opcode_position = position_;
    if (remaining() == 0) {
      Fail("the pickle ends without STOP");
      return Error(opcode_position);
    }
    if (!Step()) return Error(opcode_position);
    // CPython reads such a pickle in pieces that do not fit together.
    if (position_ > frame_end_ && opcode_position < frame_end_) {
      Fail("it goes on behind the end of its frame");
      return Error(opcode_position);
    }
  }
  DCP_RETURN_IF_ERROR(CheckEnd());
  graph_.root_ = stack_[0];
  return std::move(graph_);
}

/// Runs the opcode at position_. The four most frequent ones, half of all, do
/// not go through the table.
inline bool PickleMachine::Step() {
  static constexpr HandlerTable kHandlers = MakeHandlers();
  const uint8_t code = static_cast<uint8_t>(data_[position_++]);
  switch (static_cast<PickleOp>(code)) {
    case PickleOp::kMemoize:
      return OnMemoize();
    case PickleOp::kBinGet:
      return OnGet<uint8_t>();
    case PickleOp::kLongBinGet:
      return OnGet<uint32_t>();
    case PickleOp::kBinInt1:
      return OnBinInt1();
    default:
      break;
  }
  const Handler handler = kHandlers[code];
  if (handler == nullptr) return Fail("this opcode is not allowed");
  return (this->*handler)();
}

Status PickleMachine::CheckEnd() const {
  if (stack_.size() != 1 || !marks_.empty()) {
    return DataLoss("pickle: STOP at byte " + std::to_string(position_ - 1) +
                    ": " + std::to_string(stack_.size()) +
                    " values on the stack instead of one");
  }
  if (remaining() == 0) return absl::OkStatus();
  return DataLoss("pickle: STOP at byte " + std::to_string(position_ - 1) +
                  ": " + std::to_string(remaining()) + " bytes follow");
}

bool PickleMachine::Fail(std::string_view why) {
  error_ = why;
  return false;
}

Status PickleMachine::Error(size_t opcode_position) const {
  std::string text = "pickle: ";
  if (opcode_position < data_.size()) {
    text += PickleOpName(static_cast<uint8_t>(data_[opcode_position])) + " ";
  }
  text += "at byte " + std::to_string(opcode_position) + ": " + error_;
  return DataLoss(text);
}

bool PickleMachine::PopMark(size_t* first) {
  if (marks_.empty()) return Fail("there is no MARK");
  *first = marks_.back();
  marks_.pop_back();
  fence_ = marks_.empty() ? 0 : marks_.back();
  return true;
}

bool PickleMachine::OnProto() {
  if (position_ != 1) return Fail("PROTO is allowed at byte 0 only");
  uint8_t version = 0;
  if (!ReadFixed(&version)) return false;
  if (version >= 2 && version <= 5) return true;
  return Fail("protocol " + std::to_string(version) + " is not one of 2 to 5");
}

bool PickleMachine::OnFrame() {
  if (position_ <= frame_end_) return Fail("the last frame has not ended");
  uint64_t nbytes = 0;
  if (!ReadFixed(&nbytes)) return false;
  if (nbytes > remaining()) return Fail("the frame ends after the pickle");
  frame_end_ = position_ + static_cast<size_t>(nbytes);
  return true;
}

bool PickleMachine::OnMark() {
  if (marks_.size() >= options_.max_marks) return Fail("too many MARKs");
  marks_.push_back(stack_.size());
  fence_ = stack_.size();
  return true;
}

bool PickleMachine::OnStop() {
  stopped_ = true;
  return true;
}

template <typename Index>
bool PickleMachine::OnPut() {
  Index index = 0;
  return ReadFixed(&index) && PutAt(index);
}

}  // namespace dcp
