// Inputs for parsers of files that end with their CRC-32.

#ifndef DCP_TESTS_FUZZ_WITH_CRC_H_
#define DCP_TESTS_FUZZ_WITH_CRC_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/checksum.h"

namespace dcp {

/// The input, and the same with a CRC-32 that fits, which no mutation would
/// find.
inline std::vector<std::string> AlsoWithCrc(const uint8_t* data, size_t size) {
  std::string input(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> inputs = {input};
  if (size < sizeof(uint32_t)) return inputs;
  input.resize(size - sizeof(uint32_t));
  const uint32_t crc = Crc32(0, std::as_bytes(std::span(input)));
  input.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  inputs.push_back(std::move(input));
  return inputs;
}

}  // namespace dcp

#endif  // DCP_TESTS_FUZZ_WITH_CRC_H_
