#include "format/pickle_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

namespace dcp {

PickleWriter::PickleWriter(PickleProtocol protocol, size_t nbytes)
    : protocol_(protocol), buffer_(nbytes, '\0') {
  Fixed(PickleOp::kProto, static_cast<uint8_t>(protocol));
  if (protocol_ == PickleProtocol::k4) NewFrame();
}

void PickleWriter::Grow(size_t nbytes) {
  constexpr size_t kMinNbytes = 256;
  buffer_.resize(std::max({2 * buffer_.size(), size_ + nbytes, kMinNbytes}));
}

void PickleWriter::WideInt(int64_t value) {
  if (value >= 0 && value <= 0xffff) {
    return Fixed(PickleOp::kBinInt2, static_cast<uint16_t>(value));
  }
  if (value >= std::numeric_limits<int32_t>::min() &&
      value <= std::numeric_limits<int32_t>::max()) {
    return Fixed(PickleOp::kBinInt, static_cast<int32_t>(value));
  }
  // LONG1: little-endian two's complement in as few bytes as hold the sign.
  uint8_t nbytes = sizeof(value);
  while (nbytes > 1) {
    const int unused = 64 - 8 * (nbytes - 1);
    const auto shifted =
        static_cast<int64_t>(static_cast<uint64_t>(value) << unused);
    if (shifted >> unused != value) break;
    --nbytes;
  }
  Fixed(PickleOp::kLong1, nbytes);
  Append(&value, nbytes);
}

void PickleWriter::Float(double value) {
  Fixed(PickleOp::kBinFloat, __builtin_bswap64(std::bit_cast<uint64_t>(value)));
}

void PickleWriter::String(std::string_view text) {
  if (protocol_ == PickleProtocol::k4 && text.size() <= 0xff) {
    Fixed(PickleOp::kShortBinUnicode, static_cast<uint8_t>(text.size()));
  } else {
    Fixed(PickleOp::kBinUnicode, static_cast<uint32_t>(text.size()));
  }
  Append(text.data(), text.size());
}

void PickleWriter::Global(std::string_view module, std::string_view name) {
  if (protocol_ == PickleProtocol::k4) {
    String(module);
    String(name);
    return Op(PickleOp::kStackGlobal);
  }
  Op(PickleOp::kGlobal);
  Append(module.data(), module.size());
  Append("\n", 1);
  Append(name.data(), name.size());
  Append("\n", 1);
}

void PickleWriter::Tuple(int count) {
  constexpr std::array kOps = {PickleOp::kEmptyTuple, PickleOp::kTuple1,
                               PickleOp::kTuple2, PickleOp::kTuple3};
  Op(count <= 3 ? kOps[static_cast<size_t>(count)] : PickleOp::kTuple);
}

PickleMemo PickleWriter::Memoize() {
  if (protocol_ == PickleProtocol::k4) {
    Op(PickleOp::kMemoize);
  } else if (memo_size_ <= 0xff) {
    Fixed(PickleOp::kBinPut, static_cast<uint8_t>(memo_size_));
  } else {
    Fixed(PickleOp::kLongBinPut, memo_size_);
  }
  return memo_size_++;
}

void PickleWriter::NewFrame() {
  EndFrame();
  Fixed(PickleOp::kFrame, uint64_t{0});
  frame_start_ = size_;
}

void PickleWriter::EndFrame() {
  if (frame_start_ == 0) return;
  const uint64_t nbytes = size_ - frame_start_;
  std::memcpy(buffer_.data() + frame_start_ - sizeof(nbytes), &nbytes,
              sizeof(nbytes));
}

std::string PickleWriter::Finish() && {
  Op(PickleOp::kStop);
  EndFrame();
  buffer_.resize(size_);
  return std::move(buffer_);
}

}  // namespace dcp
