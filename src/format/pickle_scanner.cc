#include "format/pickle_scanner.h"

#include <array>
#include <span>

#include "format/pickle_reader.h"
#include "format/pickle_value.h"
#include "format/utf8.h"

namespace dcp {
namespace {

constexpr size_t kMaxGlobalNbytes = 1024;
// Observed: 9 where CPython memoizes everything, 37 where we do.
constexpr size_t kBytesPerMemo = 8;

/// A GlobalId in a memo's value, and back.
uint32_t Packed(const GlobalId& id) {
  return static_cast<uint32_t>(id.global) | static_cast<uint32_t>(id.dtype)
                                                << 8;
}
GlobalId Unpacked(uint32_t value) {
  return {.global = static_cast<PickleGlobal>(value & 0xff),
          .dtype = static_cast<DType>(value >> 8)};
}

template <typename T>
int64_t LittleEndian(const char* bytes) {
  T value = 0;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// The value of LONG1's `nbytes` at `bytes`; the last one has the sign.
int64_t LongValue(const char* bytes, unsigned nbytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, bytes, nbytes);
  const unsigned unused_bits = 64 - 8 * nbytes;
  return static_cast<int64_t>(bits << unused_bits) >> unused_bits;
}

/// The ints of a tuple that PickleScanner::Ints has read at `position`.
Dims IntsAt(const char* position) {
  Dims ints;
  while (true) {
    const char* const argument = position + 1;
    switch (static_cast<PickleOp>(*position)) {
      case PickleOp::kBinInt1:
        ints.push_back(LittleEndian<uint8_t>(argument));
        position = argument + sizeof(uint8_t);
        break;
      case PickleOp::kBinInt2:
        ints.push_back(LittleEndian<uint16_t>(argument));
        position = argument + sizeof(uint16_t);
        break;
      case PickleOp::kBinInt:
        ints.push_back(LittleEndian<int32_t>(argument));
        position = argument + sizeof(int32_t);
        break;
      case PickleOp::kLong1:
        ints.push_back(
            LongValue(argument + 1, static_cast<uint8_t>(*argument)));
        position = argument + 1 + static_cast<uint8_t>(*argument);
        break;
      case PickleOp::kFrame:
        position = argument + sizeof(uint64_t);
        break;
      case PickleOp::kMark:
        position = argument;
        break;
      default:
        return ints;
    }
  }
}

}  // namespace

bool PickleScanner::Begin() {
  const auto nbytes = static_cast<size_t>(end_ - position_);
  if (nbytes < 2) return false;
  if (position_[0] != static_cast<char>(PickleOp::kProto)) return false;
  if (position_[1] != 4 && position_[1] != 5) return false;
  position_ += 2;
  limit_ = position_;
  memo_.reserve(nbytes / kBytesPerMemo);  // what is not used costs nothing
  return true;
}

bool PickleScanner::End() { return Take(PickleOp::kStop) && position_ == end_; }

/// At the end of a frame, or of the data: enters what follows.
bool PickleScanner::NextFrame() {
  limit_ = end_;
  while (position_ != end_ &&
         *position_ == static_cast<char>(PickleOp::kFrame)) {
    uint64_t nbytes = 0;
    limit_ = end_;
    if (!Argument(&nbytes)) return false;
    if (nbytes > static_cast<size_t>(end_ - position_)) return Refuse();
    limit_ = position_ + nbytes;
    if (nbytes > 0) return true;
  }
  limit_ = end_;
  return position_ != end_;
}

void PickleScanner::GoBack(const Bookmark& bookmark) {
  position_ = bookmark.position;
  limit_ = bookmark.limit;
  memo_.resize(bookmark.memo_size);
}

bool PickleScanner::ChargeText() {
  constexpr size_t kBase = size_t{16} << 20;
  // A node, a memo, and a place in a container.
  charged_ += sizeof(PickleNode) + 2 * sizeof(PickleId);
  return charged_ <= kBase + 4 * static_cast<size_t>(end_ - begin_);
}

bool PickleScanner::NewText(std::string_view* text) {
  uint32_t nbytes = 0;
  const PickleOp op = Peek();
  if (op == PickleOp::kShortBinUnicode) {
    uint8_t short_nbytes = 0;
    if (!Argument(&short_nbytes)) return false;
    nbytes = short_nbytes;
  } else if (op != PickleOp::kBinUnicode || !Argument(&nbytes)) {
    return false;
  }
  if (nbytes > static_cast<size_t>(limit_ - position_) ||
      nbytes > PickleOptions().max_string_nbytes || !ChargeText()) {
    return Refuse();
  }
  *text = {position_, nbytes};
  position_ += nbytes;
  if (!IsValidUtf8(*text)) return Refuse();
  if (Peek() != PickleOp::kMemoize) return true;
  return MemoizePlace(MemoKind::kText, *text, &texts_);
}

template <typename T>
bool PickleScanner::IntOf(int64_t* value) {
  T narrow = 0;
  if (!Argument(&narrow)) return false;
  *value = narrow;
  return true;
}

bool PickleScanner::Int(int64_t* value) {
  switch (Peek()) {
    case PickleOp::kBinInt1:
      return IntOf<uint8_t>(value);
    case PickleOp::kBinInt2:
      return IntOf<uint16_t>(value);
    case PickleOp::kBinInt:
      return IntOf<int32_t>(value);
    case PickleOp::kLong1:
      return Long(value);
    default:
      return false;
  }
}

/// LONG1 of at most 8 bytes.
bool PickleScanner::Long(int64_t* value) {
  uint8_t nbytes = 0;
  if (!Argument(&nbytes)) return false;
  if (nbytes == 0 || nbytes > sizeof(*value) || nbytes > limit_ - position_) {
    return Refuse();
  }
  *value = LongValue(position_, nbytes);
  position_ += nbytes;
  return true;
}

bool PickleScanner::Bool(bool* value) {
  *value = Take(PickleOp::kNewTrue);
  return *value || Take(PickleOp::kNewFalse);
}

bool PickleScanner::Global(GlobalId* id) {
  uint32_t value = 0;
  if (Recall(MemoKind::kGlobal, &value)) {
    *id = Unpacked(value);
    return true;
  }
  std::string_view module;
  std::string_view name;
  if (!Text(&module) || !Text(&name) || module.size() > kMaxGlobalNbytes ||
      name.size() > kMaxGlobalNbytes || !Take(PickleOp::kStackGlobal)) {
    return false;
  }
  *id = FindPickleGlobal(module, name);
  if (id->global == PickleGlobal::kForeign ||
      id->global == PickleGlobal::kForbidden) {
    return false;
  }
  Memoize(MemoKind::kGlobal, Packed(*id));
  return true;
}

bool PickleScanner::NextIsClass(PickleGlobal expected) {
  const Bookmark here = Here();
  uint32_t value = 0;
  const bool is_class =
      Recall(MemoKind::kGlobal, &value) && Unpacked(value).global == expected;
  GoBack(here);
  return is_class;
}

bool PickleScanner::NextIsName(std::string_view name) {
  const Bookmark here = Here();
  const bool is_name = Name(name);
  GoBack(here);
  return is_name;
}

bool PickleScanner::NextIsTuple() {
  switch (Peek()) {
    case PickleOp::kEmptyTuple:
    case PickleOp::kTuple:
    case PickleOp::kTuple1:
    case PickleOp::kTuple2:
    case PickleOp::kTuple3:
      return true;
    default:
      return false;
  }
}

bool PickleScanner::TupleOf(size_t count, bool is_marked) {
  constexpr std::array kOps = {PickleOp::kEmptyTuple, PickleOp::kTuple1,
                               PickleOp::kTuple2, PickleOp::kTuple3};
  if (count == 0 && is_marked) return false;
  if (count >= kOps.size() && !is_marked) return false;
  if (!Take(is_marked ? PickleOp::kTuple : kOps[count])) return false;
  Memoize();
  return true;
}

bool PickleScanner::Ints(Dims* values) {
  std::array<int64_t, Dims::kMaxDims> ints;
  const bool is_marked = Take(PickleOp::kMark);
  size_t count = 0;
  while (!NextIsTuple()) {
    if (count == ints.size() || !Int(&ints[count])) return false;
    ++count;
  }
  if (!TupleOf(count, is_marked)) return false;
  *values = Dims(std::span(ints.data(), count));
  return true;
}

bool PickleScanner::Size(Dims* sizes) {
  uint32_t known = 0;
  if (Recall(MemoKind::kSize, &known)) {
    *sizes = IntsAt(sizes_[known]);  // in bounds: Ints() has read them
    return true;
  }
  if (!Class(PickleGlobal::kSize)) return false;
  const char* const ints = position_;
  if (!Ints(sizes) || !Take(PickleOp::kTuple1)) return false;
  Memoize();
  if (!Take(PickleOp::kReduce)) return false;
  return Peek() != PickleOp::kMemoize ||
         MemoizePlace(MemoKind::kSize, ints, &sizes_);
}

bool PickleScanner::BeginObject() {
  if (!Take(PickleOp::kEmptyTuple) || !Take(PickleOp::kNewObj)) return false;
  Memoize();
  if (!Take(PickleOp::kEmptyDict)) return false;
  Memoize();
  return Take(PickleOp::kMark);
}

}  // namespace dcp
