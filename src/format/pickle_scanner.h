// PickleScanner: reads a pickle in one pass, for who knows what comes next.
//
// PickleMachine keeps every value of a pickle, whatever it is, and a decoder
// visits them afterwards. In a large `.metadata` nearly all of it are chunks
// and their places, which picklers write in one way only: a scanner turns these
// into what they mean as it meets them, several times as fast. It understands
// little, and gives up at anything else; the machine then says what that is.

#ifndef DCP_FORMAT_PICKLE_SCANNER_H_
#define DCP_FORMAT_PICKLE_SCANNER_H_

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "format/pickle_globals.h"
#include "format/pickle_opcodes.h"

namespace dcp {

/// Reads protocols 4 and 5 of picklers that number their memo by MEMOIZE.
///
/// Each method reads one thing and returns whether it was there; if not, the
/// position is undefined, except where it says so. Damage ends the reading:
/// nothing comes after it. What is accepted,
/// PickleMachine accepts with the same meaning, but that it reads no pickle of
/// more than 1 GiB: frames, lengths, UTF-8 and the names of globals are checked
/// alike, and texts cost at most half of what it may use. Memory is linear in
/// the data. How many values are behind one MARK is for who calls to bound.
class PickleScanner {
 public:
  /// What a memo may hold that is referred to again. Other values (objects,
  /// lists) are kOpaque: no reference to them is understood.
  enum class MemoKind : uint8_t {
    kOpaque = 0,
    kText = 4,           ///< value: its place in texts_
    kSize = 8,           ///< value: its place in sizes_
    kGlobal = 12,        ///< value: the GlobalId, packed
    kLayout = 13,        ///< value: the enumerator
    kMemoryFormat = 14,  ///< value: the enumerator
  };
  /// A position that can be returned to.
  struct Bookmark {
    const char* position;
    const char* limit;
    size_t memo_size;
  };

  /// `data` must outlive the scanner and the texts that it gave.
  explicit PickleScanner(std::string_view data)
      : begin_(data.data()),
        position_(begin_),
        limit_(position_),
        end_(position_ + data.size()) {}

  bool Begin();  ///< PROTO
  bool End();    ///< STOP, with nothing behind it

  /// The next opcode, none of dcp's if there is none or if frames are not as
  /// they should be.
  PickleOp Peek() {
    if (position_ == limit_ && !NextFrame()) return PickleOp{0};
    return static_cast<PickleOp>(*position_);
  }
  /// Reads `op` if it comes next, else nothing.
  bool Take(PickleOp op) {
    if (Peek() != op) return false;
    ++position_;
    return true;
  }
  /// Reads MEMOIZE if it comes next: the last value is `value`, a `kind`.
  void Memoize(MemoKind kind = MemoKind::kOpaque, uint32_t value = 0) {
    if (!Take(PickleOp::kMemoize)) return;
    memo_.push_back(TagOf(kind) | value);
  }
  /// Reads a reference to a `kind` if it comes next, else nothing.
  bool Recall(MemoKind kind, uint32_t* value);

  bool Text(std::string_view* text);
  /// The string `name`.
  bool Name(std::string_view name);
  /// Whether the string `name` comes next. Reads nothing.
  bool NextIsName(std::string_view name);
  bool Int(int64_t* value);
  bool Bool(bool* value);
  /// A class, function or dtype that dcp knows.
  bool Global(GlobalId* id);
  bool Class(PickleGlobal expected);
  /// Whether a reference to the class `expected` comes next. Reads nothing.
  bool NextIsClass(PickleGlobal expected);
  /// Whether the opcode that makes a tuple comes next. Reads nothing.
  bool NextIsTuple();
  /// The opcode that makes a tuple of the last `count` values, which is all
  /// since MARK if there was one.
  bool TupleOf(size_t count, bool is_marked);
  /// A tuple of at most kMaxDims ints.
  bool Ints(Dims* values);
  /// torch.Size.
  bool Size(Dims* sizes);
  /// An instance of the class that was read, up to its first attribute.
  bool BeginObject();
  /// Reads the end of its attributes if that comes next, else nothing.
  bool EndObject() {
    if (!Take(PickleOp::kSetItems)) return false;
    return Take(PickleOp::kBuild) || Refuse();
  }

  Bookmark Here() const { return {position_, limit_, memo_.size()}; }
  void GoBack(const Bookmark& bookmark);

 private:
  // A memo is 4 bytes, as there is one for every few bytes of a pickle: 2 bits
  // of kind and 30 of value, or 4 of kind and 28 of value.
  static constexpr uint32_t TagOf(MemoKind kind) {
    return static_cast<uint32_t>(kind) << 28;
  }
  static constexpr uint32_t ValueMaskOf(MemoKind kind) {
    return (uint32_t{1} << (kind < MemoKind::kGlobal ? 30 : 28)) - 1;
  }

  /// Memoize of one more element of `places`; refuses one more than a memo's
  /// value can name.
  template <typename Place>
  bool MemoizePlace(MemoKind kind, Place place, std::vector<Place>* places) {
    if (places->size() > ValueMaskOf(kind)) return Refuse();
    places->push_back(place);
    Memoize(kind, static_cast<uint32_t>(places->size() - 1));
    return true;
  }

  bool NextFrame();
  bool NewText(std::string_view* text);
  /// Whether PickleMachine, too, would have memory for one more text.
  bool ChargeText();
  template <typename T>
  bool Argument(T* value);
  template <typename T>
  bool IntOf(int64_t* value);
  bool Long(int64_t* value);
  /// Ends the reading and returns false.
  bool Refuse() {
    position_ = limit_ = end_;
    return false;
  }

  const char* const begin_;
  const char* position_;
  const char* limit_;  // no opcode may cross it: a frame's end, or the data's
  const char* end_;
  std::vector<uint32_t> memo_;
  std::vector<std::string_view> texts_;
  std::vector<const char*> sizes_;  // where the ints of a torch.Size begin
  size_t charged_ = 0;              // for texts
};

template <typename T>
bool PickleScanner::Argument(T* value) {
  if (static_cast<size_t>(limit_ - position_) < 1 + sizeof(T)) return Refuse();
  std::memcpy(value, position_ + 1, sizeof(T));
  position_ += 1 + sizeof(T);
  return true;
}

inline bool PickleScanner::Recall(MemoKind kind, uint32_t* value) {
  const PickleOp op = Peek();
  const char* const before = position_;
  uint32_t index = 0;
  if (op == PickleOp::kBinGet) {
    uint8_t short_index = 0;
    if (!Argument(&short_index)) return false;
    index = short_index;
  } else if (op != PickleOp::kLongBinGet || !Argument(&index)) {
    return false;
  }
  if (index < memo_.size() &&
      (memo_[index] & ~ValueMaskOf(kind)) == TagOf(kind)) {
    *value = memo_[index] & ValueMaskOf(kind);
    return true;
  }
  position_ = before;
  return false;
}

inline bool PickleScanner::Text(std::string_view* text) {
  uint32_t index = 0;
  if (!Recall(MemoKind::kText, &index)) return NewText(text);
  *text = texts_[index];
  return true;
}

inline bool PickleScanner::Name(std::string_view name) {
  std::string_view text;
  return Text(&text) && text == name;
}

inline bool PickleScanner::Class(PickleGlobal expected) {
  GlobalId id;
  return Global(&id) && id.global == expected;
}

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_SCANNER_H_
