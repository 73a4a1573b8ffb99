// PickleWriter: appends pickle opcodes to one buffer.

#ifndef DCP_FORMAT_PICKLE_WRITER_H_
#define DCP_FORMAT_PICKLE_WRITER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "format/pickle_opcodes.h"

namespace dcp {

/// The protocols in use: torch.save writes 2, `.metadata` is 4.
enum class PickleProtocol : uint8_t { k2 = 2, k4 = 4 };

/// A value that was memoized, for PickleWriter::Get.
using PickleMemo = uint32_t;
inline constexpr PickleMemo kNoPickleMemo = 0xffffffff;

/// Writes opcodes in the forms that CPython's pickler chooses. The caller
/// memoizes what it will refer to again, no more. Protocol 4 output is cut
/// into frames of about 64 KiB at calls of Boundary().
class PickleWriter {
 public:
  /// `nbytes` is a guess of the size, to allocate once.
  PickleWriter(PickleProtocol protocol, size_t nbytes);

  void Op(PickleOp op) {
    Ensure(1);
    buffer_[size_++] = static_cast<char>(op);
  }
  template <size_t kCount>
  void Ops(const PickleOp (&ops)[kCount]) {
    Append(ops, kCount);
  }
  void None() { Op(PickleOp::kNone); }
  void Bool(bool value) {
    Op(value ? PickleOp::kNewTrue : PickleOp::kNewFalse);
  }
  void Int(int64_t value) {
    if (value < 0 || value > 0xff) return WideInt(value);
    Fixed(PickleOp::kBinInt1, static_cast<uint8_t>(value));
  }
  void Float(double value);
  /// `text` is valid UTF-8 of less than 4 GiB.
  void String(std::string_view text);
  void Global(std::string_view module, std::string_view name);
  /// The tuple of the `count` values on top; for more than 3 the caller wrote
  /// kMark before them.
  void Tuple(int count);
  /// An opcode with a little-endian argument.
  template <typename T>
  void Fixed(PickleOp op, T value) {
    Ensure(1 + sizeof(T));
    buffer_[size_] = static_cast<char>(op);
    std::memcpy(buffer_.data() + size_ + 1, &value, sizeof(T));
    size_ += 1 + sizeof(T);
  }

  /// Memoizes the value on top of the stack.
  PickleMemo Memoize();
  void Get(PickleMemo memo) {
    if (memo > 0xff) return Fixed(PickleOp::kLongBinGet, memo);
    Fixed(PickleOp::kBinGet, static_cast<uint8_t>(memo));
  }

  /// Bytes so far, values memoized so far, and the bytes from `begin` on.
  size_t size() const { return size_; }
  PickleMemo memo_size() const { return memo_size_; }
  std::string_view Since(size_t begin) const {
    return std::string_view(buffer_).substr(begin, size_ - begin);
  }
  /// Opcodes that Since() gave, none of which memoizes or ends a frame.
  void Raw(std::string_view ops) { Append(ops.data(), ops.size()); }

  /// Between two opcodes: starts a new frame if the current one is full.
  void Boundary() {
    if (size_ - frame_start_ >= kFrameNbytes) NewFrame();
  }
  /// Writes STOP and returns the pickle.
  std::string Finish() &&;

 private:
  static constexpr size_t kFrameNbytes = size_t{64} << 10;

  // The buffer is kept larger than what is written, so that an opcode costs a
  // comparison and a store.
  void Ensure(size_t nbytes) {
    if (buffer_.size() - size_ < nbytes) Grow(nbytes);
  }
  void Grow(size_t nbytes);
  void Append(const void* data, size_t nbytes) {
    Ensure(nbytes);
    std::memcpy(buffer_.data() + size_, data, nbytes);
    size_ += nbytes;
  }
  void WideInt(int64_t value);
  void NewFrame();
  void EndFrame();

  const PickleProtocol protocol_;
  std::string buffer_;
  size_t size_ = 0;
  size_t frame_start_ = 0;  // of the frame's content
  PickleMemo memo_size_ = 0;
};

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_WRITER_H_
