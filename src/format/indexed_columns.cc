#include "format/indexed_columns.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

namespace dcp {
namespace {

// All arithmetic is modulo 2^64: no difference of two values overflows.
uint64_t Bits(int64_t value) { return static_cast<uint64_t>(value); }

size_t PackedNbytes(size_t count, unsigned width) {
  return (count * width + 7) / 8;
}

/// Values of up to 64 bits that begin at any bit, in 9 bytes at most.
constexpr size_t kSlackNbytes = 9;

void PackBits(uint64_t value, size_t at, char* bytes) {
  uint64_t word = 0;
  char* const first = bytes + at / 8;
  const size_t shift = at % 8;
  std::memcpy(&word, first, sizeof(word));
  word |= value << shift;
  std::memcpy(first, &word, sizeof(word));
  if (shift > 0) first[8] = static_cast<char>(value >> (64 - shift));
}

uint64_t UnpackBits(const char* bytes, size_t at, unsigned width) {
  uint64_t value = 0;
  const char* const first = bytes + at / 8;
  const size_t shift = at % 8;
  std::memcpy(&value, first, sizeof(value));
  value >>= shift;
  if (shift > 0)
    value |= uint64_t{static_cast<uint8_t>(first[8])} << (64 - shift);
  return value & (~uint64_t{0} >> (64 - width));
}

}  // namespace

void PutColumn(std::span<const int64_t> values, WireWriter* out) {
  const uint64_t first = Bits(values[0]);
  const uint64_t step = values.size() > 1 ? Bits(values[1]) - first : 0;
  bool is_line = true;
  for (size_t i = 0; i < values.size(); ++i) {
    is_line &= Bits(values[i]) == first + i * step;
  }
  if (is_line) {
    out->PutU8(0);
    out->PutSigned(values[0]);
    out->PutSigned(static_cast<int64_t>(step));
    return;
  }
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  const auto width =
      static_cast<unsigned>(std::bit_width(Bits(*max) - Bits(*min)));
  out->PutU8(static_cast<uint8_t>(width));
  out->PutSigned(*min);
  std::string packed(PackedNbytes(values.size(), width) + kSlackNbytes, '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    PackBits(Bits(values[i]) - Bits(*min), i * width, packed.data());
  }
  packed.resize(packed.size() - kSlackNbytes);
  out->PutString(packed);
}

void GetColumn(WireReader* in, std::span<int64_t> values) {
  const unsigned width = in->U8();
  const uint64_t first = Bits(in->Signed());
  if (width == 0) {
    const uint64_t step = Bits(in->Signed());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<int64_t>(first + i * step);
    }
    return;
  }
  const std::string_view packed = in->String();
  if (width > 64 || packed.size() != PackedNbytes(values.size(), width)) {
    return in->Fail();
  }
  std::array<char, kMaxColumnValues * 8 + kSlackNbytes> bytes;
  std::memcpy(bytes.data(), packed.data(), packed.size());
  std::memset(bytes.data() + packed.size(), 0, kSlackNbytes);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int64_t>(
        first + UnpackBits(bytes.data(), i * width, width));
  }
}

}  // namespace dcp
