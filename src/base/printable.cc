#include "base/printable.h"

#include <cstddef>
#include <cstdint>

namespace dcp {

std::string Printable(std::string_view text) {
  constexpr size_t kMaxNbytes = 200;
  constexpr char kHex[] = "0123456789abcdef";
  std::string printable;
  for (const char c : text.substr(0, kMaxNbytes)) {
    if (c >= ' ' && c <= '~' && c != '\\' && c != '\'') {
      printable += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      printable += "\\x";
      printable += kHex[byte >> 4];
      printable += kHex[byte & 15];
    }
  }
  return text.size() > kMaxNbytes ? printable + "..." : printable;
}

}  // namespace dcp
