#include "format/json_writer.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "format/bytes.h"
#include "format/json_reader.h"

namespace dcp {
namespace {

std::string Minimal(std::string_view text) {
  std::string out;
  AppendJsonString(text, JsonEscapes::kMinimal, &out);
  return out;
}

std::string Ascii(std::string_view text) {
  std::string out;
  AppendJsonString(text, JsonEscapes::kAscii, &out);
  return out;
}

TEST_CASE("strings are escaped as serde_json does", "[json]") {
  CHECK(Minimal("") == R"("")");
  CHECK(Minimal("a.b/c") == R"("a.b/c")");
  CHECK(Minimal("\"\\") == R"("\"\\")");
  CHECK(Minimal("\b\t\n\f\r") == R"("\b\t\n\f\r")");
  CHECK(Minimal(Bytes("\0\x01\x0b\x1b\x1f")) ==
        R"("\u0000\u0001\u000b\u001b\u001f")");
  CHECK(Minimal("\x7f\xc3\xa9\xf0\x9f\x98\x80") ==
        "\"\x7f\xc3\xa9\xf0\x9f\x98\x80\"");
}

TEST_CASE("strings are escaped as Python's json does", "[json]") {
  CHECK(Ascii("a.b/c~ ") == R"("a.b/c~ ")");
  CHECK(Ascii("\"\\\b\t\n\f\r") == R"("\"\\\b\t\n\f\r")");
  CHECK(Ascii(Bytes("\0\x1f\x7f")) == R"("\u0000\u001f\u007f")");
  CHECK(Ascii("\xc2\x80\xdf\xbf") == R"("\u0080\u07ff")");
  CHECK(Ascii("\xe0\xa0\x80\xef\xbf\xbf") == R"("\u0800\uffff")");
  CHECK(Ascii("\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf") ==
        R"("\ud800\udc00\ud83d\ude00\udbff\udfff")");
}

class LastString final : public JsonHandler {
 public:
  std::string text;
  Status Handle(const JsonEvent& event) override {
    text = event.text;
    return absl::OkStatus();
  }
};

std::string RandomText(std::mt19937_64& rng) {
  const char* const kPieces[] = {"a",        "\"",
                                 "\\",       "\n",
                                 "\x01",     " ",
                                 "/",        "\x7f",
                                 "\xc3\xa9", "\xe2\x82\xac",
                                 "u",        "b",
                                 "\t",       "\xf0\x9f\x98\x80"};
  std::string text;
  for (size_t i = rng() % 20; i > 0; --i) {
    text += kPieces[rng() % std::size(kPieces)];
  }
  return text;
}

TEST_CASE("what is written is read again", "[json]") {
  std::mt19937_64 rng(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = RandomText(rng);
    for (const std::string& written : {Minimal(text), Ascii(text)}) {
      LastString read;
      REQUIRE(ReadJson(written, read).ok());
      REQUIRE(read.text == text);
    }
  }
}

}  // namespace
}  // namespace dcp
