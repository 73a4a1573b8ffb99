#include "base/digest128.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace dcp {
namespace {

/// Bytes 1, 8, 15, 22 and so on.
std::string Sevens(size_t nbytes) {
  std::string data;
  for (size_t i = 0; i < nbytes; ++i) data += static_cast<char>(i * 7 + 1);
  return data;
}

TEST_CASE("a digest is what SipHash-2-4-128 says", "[digest]") {
  // openssl mac -macopt hexkey:00..00 -macopt size:16 -in FILE SIPHASH
  CHECK(ToString(DigestOf("")) == "5049d74780a3e07d4202ab47d4cef2f4");
  CHECK(ToString(DigestOf(Sevens(1))) == "5222059dfeff07db66f8084e3aa55d2d");
  CHECK(ToString(DigestOf(Sevens(7))) == "56f87bb3e628b7437e49934333ab3a5f");
  CHECK(ToString(DigestOf(Sevens(8))) == "32649fd377dfaa9171565cdea1b973d4");
  CHECK(ToString(DigestOf(Sevens(15))) == "f6c11b410eabfb37b5454e228b6f592c");
  CHECK(ToString(DigestOf(Sevens(63))) == "3d33f8d430055194fccd7d51b2c1c4df");
  CHECK(ToString(DigestOf(Sevens(255))) == "ff0edf00d2980493b03590f4ef1a77db");
  CHECK(ToString(DigestOf(Sevens(256))) == "875d2bdb0fb57e6a5e7534c0c3218d0c");
}

TEST_CASE("no bit and no zero byte at the end goes unnoticed", "[digest]") {
  std::set<Digest128> seen;
  const std::string data = Sevens(40);
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    std::string flipped = data;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    CHECK(seen.insert(DigestOf(flipped)).second);
  }
  for (size_t zeros = 0; zeros < 300; ++zeros) {
    CHECK(seen.insert(DigestOf(data + std::string(zeros, '\0'))).second);
  }
}

}  // namespace
}  // namespace dcp
