#include "format/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dcp {
namespace {

uint8_t ByteAt(std::string_view text, size_t position) {
  return static_cast<uint8_t>(text[position]);
}

/// Length of the well-formed sequence at `position`, 0 if there is none.
size_t SequenceLength(std::string_view text, size_t position) {
  const uint8_t lead = ByteAt(text, position);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - position < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((ByteAt(text, position + i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = ByteAt(text, position + 1);
  if (lead == 0xe0 && second < 0xa0) return 0;  // overlong
  if (lead == 0xed && second > 0x9f) return 0;  // surrogate
  if (lead == 0xf0 && second < 0x90) return 0;  // overlong
  if (lead == 0xf4 && second > 0x8f) return 0;  // above U+10FFFF
  return length;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (text.size() - position >= sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, text.data() + position, sizeof(word));
      if ((word & 0x8080808080808080) == 0) {
        position += sizeof(word);
        continue;
      }
    }
    const size_t length = SequenceLength(text, position);
    if (length == 0) return false;
    position += length;
  }
  return true;
}

}  // namespace dcp
