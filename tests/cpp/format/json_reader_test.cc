#include "format/json_reader.h"

#include <catch2/catch.hpp>
#include <string>

#include "format/bytes.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

/// Writes down what it is told, one word for each part.
class Recorder final : public JsonHandler {
 public:
  std::string said;

  Status Handle(const JsonEvent& event) override {
    constexpr const char* kNames[] = {"null",   "bool", "unsigned", "number",
                                      "string", "key",  "{",        "}",
                                      "[",      "]"};
    said += std::to_string(event.depth);
    said += kNames[static_cast<size_t>(event.kind)];
    if (!event.text.empty()) said += "=" + std::string(event.text);
    if (event.kind == JsonKind::kUnsigned || event.kind == JsonKind::kBool) {
      said += "=" + std::to_string(event.number);
    }
    said += ' ';
    return event.text == "stop" ? InvalidArgument("stopped") : absl::OkStatus();
  }
};

std::string Read(std::string_view text) {
  Recorder recorder;
  const Status status = ReadJson(text, recorder);
  return status.ok() ? recorder.said : std::string(Message(status));
}

Status StatusOf(std::string_view text) {
  Recorder recorder;
  return ReadJson(text, recorder);
}

TEST_CASE("every part of a text is told with its depth", "[json]") {
  CHECK(Read(R"({"a":[1,{"b":null}],"c":true,"d":"x"})") ==
        "0{ 1key=a 1[ 2unsigned=1 2{ 3key=b 3null 2} 1] 1key=c 1bool=1 "
        "1key=d 1string=x 0} ");
  CHECK(Read(" \t\r\n[] \t\r\n") == "0[ 0] ");
  CHECK(Read("\"alone\"") == "0string=alone ");
  CHECK(Read("[[],{}]") == "0[ 1[ 1] 1{ 1} 0] ");
}

TEST_CASE("only plain whole numbers below 2^64 are unsigned", "[json]") {
  CHECK(Read("[0,18446744073709551615]") ==
        "0[ 1unsigned=0 1unsigned=18446744073709551615 0] ");
  CHECK(Read("[18446744073709551616]") ==
        "0[ 1number=18446744073709551616 0] ");
  CHECK(Read("[-1,-0,1.0,1e0,-9223372036854775808]") ==
        "0[ 1number=-1 1number=-0 1number=1.0 1number=1e0 "
        "1number=-9223372036854775808 0] ");
}

TEST_CASE("strings are unescaped", "[json]") {
  CHECK(Read(R"(["\"\\\/\b\f\n\r\t"])") == "0[ 1string=\"\\/\b\f\n\r\t 0] ");
  CHECK(Read(R"(["\u00e9\ud83d\ude00"])") ==
        "0[ 1string=\xc3\xa9\xf0\x9f\x98\x80 0] ");
  CHECK(Read(R"(["a\u0000b"])") == Bytes("0[ 1string=a\0b 0] "));
  // A quote that is escaped does not end a string, a backslash that is does.
  CHECK(Read("[\"\\\\\",\n\"\\\"\",\t1]") ==
        "0[ 1string=\\ 1string=\" 1unsigned=1 0] ");
}

TEST_CASE("what is no JSON text is refused with its place", "[json]") {
  const std::string text =
      GENERATE("", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}",
               "{\"a\":1,}", "{a:1}", "{'a':1}", "{1:1}", "[1]x", "[1][2]",
               "{}{}", "[01]", "[1.]", "[.5]", "[+1]", "[1e]", "[0x1]", "[--1]",
               "[NaN]", "[Infinity]", "[nul]", "[True]", "[/*x*/]", "[1]//",
               "[\"\\x\"]", "[\"\\u12\"]", "[\"\\ud800\"]", "[\"\\ud800x\"]",
               "[\"\\udc00\"]", "[\"\\ud800\\ud800\"]", "[\"\n\"]", "[\"\t\"]",
               "[\"\\\"\n\"]", "[\"\x1f\"]", "[\"a]", "[\x0b]", "[\x0c]",
               "[\"\\", "[1e999]", "[\xc2\xa0]");
  CAPTURE(text);
  CHECK(StatusOf(text).code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(Read(text), Contains("not JSON at byte "));
}

TEST_CASE("the place of what is no JSON is that of the text", "[json]") {
  CHECK_THAT(Read("[1,\n\n\n  x]"), Contains("at byte 9: "));
  CHECK_THAT(Read("[\"a\n\"]"), Contains("at byte 4: "));
}

TEST_CASE("NULs, byte order marks and bytes that are no UTF-8 are refused",
          "[json]") {
  for (const std::string& text :
       {Bytes("[]\0"), Bytes("\0[]"), Bytes("[\0]"), Bytes("[\"\0\"]"),
        Bytes("{}\0\0\0"), Bytes("[1\0]"), Bytes("[nul\0]")}) {
    CHECK_THAT(Read(text), Contains("not JSON at byte "));
  }
  CHECK_THAT(Read("\xef\xbb\xbf[]"), Contains("byte order mark"));
  CHECK_THAT(Read("[]\xef\xbb\xbf"), Contains("not JSON at byte 3"));
  for (const char* text :
       {"\xff", "[\"\xff\"]", "[\"\xed\xa0\x80\"]", "[\"\xc0\xaf\"]"}) {
    CHECK_THAT(Read(text), Contains("not UTF-8"));
  }
}

TEST_CASE("a key that is twice in an object is refused", "[json]") {
  for (const char* text :
       {R"({"a":1,"a":1})", R"({"b":1,"a":1,"b":2})", R"([{"x":{"":0,"":0}}])",
        R"({"a":1,"\u0061":2})", R"({"a":{"c":1,"d":1},"b":2,"a":3})"}) {
    CAPTURE(text);
    CHECK(StatusOf(text).code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(Read(text), Contains("twice"));
  }
  for (const char* text :
       {R"({"a":{"a":{"a":1}},"b":{"a":1}})", R"([{"a":1},{"a":1}])",
        R"({"b":1,"a":{"b":1,"a":2},"c":3})", R"({"ab":1,"a":1,"b":1})"}) {
    CAPTURE(text);
    CHECK(StatusOf(text).ok());
  }
}

TEST_CASE("a handler never sees the end of an object with a key twice",
          "[json]") {
  Recorder recorder;
  REQUIRE_FALSE(ReadJson(R"([{"a":1,"a":2}])", recorder).ok());
  CHECK(recorder.said == "0[ 1{ 2key=a 2unsigned=1 2key=a 2unsigned=2 ");
}

TEST_CASE("127 containers in each other are read, 128 are not", "[json]") {
  const auto nested = [](size_t arrays) {
    return std::string(arrays, '[') + std::string(arrays, ']');
  };
  CHECK(StatusOf(nested(127)).ok());
  CHECK_THAT(Read(nested(128)), Contains("127 objects and arrays"));
  CHECK_THAT(Read(std::string(1 << 20, '[')),
             Contains("127 objects and arrays"));
  CHECK_THAT(Read("{\"a\":" + nested(127) + "}"),
             Contains("127 objects and arrays"));
}

TEST_CASE("an error of the handler ends the reading", "[json]") {
  const Status status = StatusOf(R"(["stop", no JSON)");
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(status) == "stopped");
}

TEST_CASE("messages are short and printable, whatever the text has", "[json]") {
  for (const std::string& tail :
       {std::string(100000, '\n'), std::string(100000, '\\'),
        std::string(100000, 'x')}) {
    const std::string message = Read("[\"" + tail);
    CHECK(message.size() < 1200);
    for (const char c : message) CHECK((c >= ' ' && c <= '~'));
  }
}

}  // namespace
}  // namespace dcp
