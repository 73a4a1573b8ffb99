#include "base/checksum.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace dcp {
namespace {

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_CASE("CRC-32 has the check value of the zip polynomial", "[checksum]") {
  CHECK(Crc32(0, AsBytes("123456789")) == 0xCBF43926);
  CHECK(Crc32(0, "") == 0);
}

TEST_CASE("CRC-32 of parts combines to that of the whole", "[checksum]") {
  std::mt19937_64 random(1);
  std::string text(300'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  const uint32_t whole = Crc32(0, AsBytes(text));
  for (int trial = 0; trial < 200; ++trial) {
    const size_t cut = random() % (text.size() + 1);
    const std::string_view a(text.data(), cut);
    const std::string_view b = std::string_view(text).substr(cut);
    CHECK(Crc32(Crc32(0, AsBytes(a)), AsBytes(b)) == whole);
    CHECK(Crc32Combine(Crc32(0, AsBytes(a)), Crc32(0, AsBytes(b)),
                       static_cast<int64_t>(b.size())) == whole);
  }
}

TEST_CASE("CRC-32 combines over lengths beyond 4 GiB", "[checksum]") {
  // Appending n zero bytes twice equals appending 2n.
  const int64_t n = (int64_t{5} << 30) + 3;
  const uint32_t zeros = Crc32Combine(Crc32(0, AsBytes("a")), 0, n);
  CHECK(Crc32Combine(zeros, 0, n) ==
        Crc32Combine(Crc32(0, AsBytes("a")), 0, 2 * n));
}

}  // namespace
}  // namespace dcp
