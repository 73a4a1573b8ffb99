#include "format/utf8.h"

#include <catch2/catch.hpp>
#include <string>

#include "format/bytes.h"

namespace dcp {
namespace {

TEST_CASE("well-formed UTF-8 of every length is valid", "[utf8]") {
  CHECK(IsValidUtf8(""));
  CHECK(IsValidUtf8("plain ASCII that is longer than one word of eight"));
  CHECK(IsValidUtf8("\xc2\x80 \xdf\xbf"));
  CHECK(IsValidUtf8("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"));
  CHECK(IsValidUtf8("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"));
  CHECK(IsValidUtf8(Bytes("a\0b")));
}

TEST_CASE("malformed UTF-8 is refused wherever it stands", "[utf8]") {
  const std::string bad = GENERATE(
      "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2 ", "\xe0\x9f\xbf",
      "\xe1\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf0\x90\x80");
  for (size_t before : {0UL, 1UL, 7UL, 8UL, 9UL, 20UL}) {
    CHECK_FALSE(IsValidUtf8(std::string(before, 'x') + bad));
    CHECK_FALSE(IsValidUtf8(std::string(before, 'x') + bad + "tail tail"));
  }
}

}  // namespace
}  // namespace dcp
