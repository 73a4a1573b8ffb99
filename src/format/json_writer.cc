#include "format/json_writer.h"

#include <cstddef>

namespace dcp {
namespace {

/// The letter of a short escape, 0 if `c` has none.
char ShortEscape(char c) {
  switch (c) {
    case '"':
    case '\\':
      return c;
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

void AppendUnicodeEscape(uint32_t unit, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  *out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) {
    *out += kHex[(unit >> shift) & 15];
  }
}

/// The code point whose sequence begins at `*position`, which moves past it.
uint32_t TakeCodePoint(std::string_view text, size_t* position) {
  const auto lead = static_cast<uint8_t>(text[(*position)++]);
  if (lead < 0xc0) return lead;
  const int rest = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  uint32_t code_point = lead & (0x3fU >> rest);
  for (int i = 0; i < rest && *position < text.size(); ++i) {
    code_point =
        code_point << 6 | (static_cast<uint8_t>(text[(*position)++]) & 0x3fU);
  }
  return code_point;
}

/// As UTF-16, which JSON's escapes are.
void AppendEscaped(uint32_t code_point, std::string* out) {
  if (code_point < 0x10000) return AppendUnicodeEscape(code_point, out);
  const uint32_t beyond = code_point - 0x10000;
  AppendUnicodeEscape(0xd800 + (beyond >> 10), out);
  AppendUnicodeEscape(0xdc00 + (beyond & 0x3ff), out);
}

}  // namespace

void AppendJsonString(std::string_view text, JsonEscapes escapes,
                      std::string* out) {
  *out += '"';
  for (size_t position = 0; position < text.size();) {
    const char c = text[position];
    const auto byte = static_cast<uint8_t>(c);
    if (const char letter = ShortEscape(c)) {
      *out += '\\';
      *out += letter;
      ++position;
    } else if (byte < ' ' || (escapes == JsonEscapes::kAscii && byte > '~')) {
      AppendEscaped(TakeCodePoint(text, &position), out);
    } else {
      *out += c;
      ++position;
    }
  }
  *out += '"';
}

}  // namespace dcp
