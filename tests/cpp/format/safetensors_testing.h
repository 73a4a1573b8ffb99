// Safetensors files for tests.

#ifndef DCP_TESTS_FORMAT_SAFETENSORS_TESTING_H_
#define DCP_TESTS_FORMAT_SAFETENSORS_TESTING_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "format/bytes.h"
#include "format/safetensors_header.h"

namespace dcp {

/// A length, 8 bytes little-endian.
inline std::string LengthBytes(uint64_t nbytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>((nbytes >> (8 * i)) & 0xff);
  }
  return bytes;
}

/// What a file with this header begins with.
inline std::string HeadOf(std::string_view text) {
  return LengthBytes(text.size()) + std::string(text);
}

/// Reads the header `text` of a file with `data_nbytes` of data.
inline StatusOr<SafetensorsHeader> ParseText(std::string_view text,
                                             int64_t data_nbytes) {
  const std::string head = HeadOf(text);
  return ParseSafetensorsHeader(AsBytes(head), std::ssize(head) + data_nbytes);
}

/// {"a":{"dtype":<dtype>,"shape":<shape>,"data_offsets":<data_offsets>}}; the
/// parts are JSON.
inline std::string OneTensor(std::string_view dtype, std::string_view shape,
                             std::string_view data_offsets) {
  return R"({"a":{"dtype":)" + std::string(dtype) + R"(,"shape":)" +
         std::string(shape) + R"(,"data_offsets":)" +
         std::string(data_offsets) + "}}";
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_SAFETENSORS_TESTING_H_
