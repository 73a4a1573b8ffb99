#include "base/random_id.h"

#include <cstdint>
#include <random>

namespace dcp {

std::string MakeRandomHex() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::random_device entropy;
  std::string hex;
  for (int word = 0; word < 4; ++word) {
    uint32_t bits = entropy();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) {
      hex.push_back(kDigits[bits & 15]);
    }
  }
  return hex;
}

}  // namespace dcp
