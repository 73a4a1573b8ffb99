// Small files that ask for much: each is refused, or read, in little time and
// memory.

#include <algorithm>
#include <catch2/catch.hpp>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "format/safetensors_index.h"
#include "format/safetensors_testing.h"
#include "fuzz/allocation_meter.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

constexpr size_t kMib = size_t{1} << 20;
constexpr size_t kMaxNbytes = 64 * kMib;

/// `piece` repeated with its number in the place of '#', up to 1 MiB in all.
std::string Repeated(std::string_view before, std::string_view piece,
                     std::string_view after) {
  std::string text(before);
  for (size_t i = 0; text.size() + 100 + after.size() < kMib; ++i) {
    if (i > 0) text += ',';
    for (const char c : piece) {
      if (c == '#') {
        text += std::to_string(i);
      } else {
        text += c;
      }
    }
  }
  return text += after;
}

std::string LongString(std::string_view before, char c,
                       std::string_view after) {
  return std::string(before) + std::string(kMib - 100, c) + std::string(after);
}

std::string ManyOpen(std::string_view piece) {
  std::string text;
  while (text.size() < kMib - 100) text += piece;
  return text;
}

/// Runs `read` and checks what it took.
void CheckCost(const std::function<void()>& read) {
  // The least of a few: others use this machine, too.
  double seconds = 1e9;
  for (int i = 0; i < 3; ++i) {
    const std::clock_t start = std::clock();
    ResetAllocationPeak();
    read();
    CHECK(AllocationPeakNbytes() <= kMaxNbytes);
    const auto clocks = static_cast<double>(std::clock() - start);
    seconds = std::min(seconds, clocks / CLOCKS_PER_SEC);
  }
  CHECK(seconds <= 0.1 * static_cast<double>(testing::OneSecond().count()));
}

TEST_CASE("a header of a MiB costs 100 ms and 64 MiB at most",
          "[safetensors]") {
  const std::string u8 = R"({"dtype":"U8","shape":[],"data_offsets":[0,1]})";
  const std::string empty =
      R"("#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const std::string in_a = R"({"a":{"dtype":"U8","shape":)";
  const std::vector<std::string> texts = {
      // All tensors at one place, of one name, without data.
      Repeated("{", "\"#\":" + u8, "}"), Repeated("{", "\"a\":" + u8, "}"),
      Repeated("{", empty, "}"),
      // Long lists and strings.
      Repeated(in_a + "[", "1", "]}}"), Repeated(in_a + "[", "#", "]}}"),
      Repeated(R"({"__metadata__":{)", R"("#":"")", "}}x"),
      Repeated(R"({"__metadata__":{)", R"("a":"")", "}}"),
      Repeated(R"({"a":{)", R"("#":#)", "}}"),
      Repeated(R"({"a":{"x":[)", R"({"#":{}})", "]}}"),
      LongString("{\"", 'a', "\":1}"), LongString("{\"", '\n', "\":1}"),
      LongString("{\"", '\\', "\":1}"), LongString("{\"a\":", '1', "}"),
      LongString("{\"a\":-0.", '1', "e400}"), LongString("{", '\n', "x"),
      LongString("{", '\t', "\x01"), LongString("{}", '\r', "\x02"),
      LongString("{", '\x03', "}"), LongString("", '[', ""),
      LongString("{\"a\":", '{', ""), ManyOpen("{\"a\":"), ManyOpen("[{\"\":"),
      ManyOpen("\n\t")};
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 100));
    const std::string head = HeadOf(text);
    CheckCost([&head] {
      (void)ParseSafetensorsHeader(AsBytes(head), std::ssize(head));
    });
  }
}

TEST_CASE("a length without a header costs nothing", "[safetensors]") {
  const uint64_t length = GENERATE(uint64_t{100'000'000}, 100'000'001,
                                   uint64_t{1} << 63, ~uint64_t{0});
  const std::string head = LengthBytes(length) + "{}";
  for (const int64_t file_nbytes : {int64_t{10}, int64_t{1} << 62}) {
    ResetAllocationPeak();
    CHECK_FALSE(ParseSafetensorsHeader(AsBytes(head), file_nbytes).ok());
    CHECK(AllocationPeakNbytes() < 10'000);
  }
}

TEST_CASE("an index of a MiB costs 100 ms and 64 MiB at most",
          "[safetensors]") {
  const std::vector<std::string> texts = {
      Repeated(R"({"weight_map":{)", R"("#":"x")", "}}"),
      Repeated(R"({"weight_map":{)", R"("a":"x")", "}}"),
      Repeated(R"({"weight_map":{},"metadata":{)", R"("#":{})", "}}"),
      LongString(R"({"weight_map":{"a":")", '/', "\"}}"),
      LongString(R"({"weight_map":{"a":")", 'x', "\"}}"),
      LongString("{", '\n', "x"),
      LongString("", '[', "")};
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 100));
    CheckCost([&text] { (void)ParseSafetensorsIndex(text); });
  }
}

TEST_CASE("memory is a small multiple of a large header", "[safetensors]") {
  const std::string most(16 * kMib, '\n');
  for (const std::string& text :
       {"{" + most + "\x01", "{\"a\":1" + most + "\x01", "{}" + most}) {
    const std::string head = HeadOf(text);
    ResetAllocationPeak();
    (void)ParseSafetensorsHeader(AsBytes(head), std::ssize(head));
    CHECK(AllocationPeakNbytes() <= kMaxNbytes + 8 * text.size());
  }
}

}  // namespace
}  // namespace dcp
