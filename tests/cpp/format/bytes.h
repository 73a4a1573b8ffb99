// Bytes("..."): a std::string of a literal that may hold NULs.

#ifndef DCP_TESTS_FORMAT_BYTES_H_
#define DCP_TESTS_FORMAT_BYTES_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace dcp {

template <size_t kSize>
std::string Bytes(const char (&literal)[kSize]) {
  return std::string(literal, kSize - 1);
}

inline std::span<const std::byte> AsBytes(std::string_view data) {
  return std::as_bytes(std::span(data.data(), data.size()));
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_BYTES_H_
