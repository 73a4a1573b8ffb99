#include "format/safetensors_index.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "format/bytes.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string Refusal(std::string_view text) {
  const Status status = ParseSafetensorsIndex(text).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  return std::string(Message(status));
}

std::string WithFile(std::string_view file) {
  return R"({"weight_map":{"a":")" + std::string(file) + R"("}})";
}

// transformers 5.23 save_pretrained.
constexpr std::string_view kOfTransformers = R"({
  "metadata": {
    "total_parameters": 12,
    "total_size": 48
  },
  "weight_map": {
    "a.weight": "model-00001-of-00002.safetensors",
    "b\u00e9": "model-00002-of-00002.safetensors"
  }
}
)";

TEST_CASE("an index is what transformers writes, byte by byte",
          "[safetensors]") {
  const SafetensorsIndex index{
      .total_size = 48,
      .total_parameters = 12,
      .weight_map = {{"b\xc3\xa9", "model-00002-of-00002.safetensors"},
                     {"a.weight", "model-00001-of-00002.safetensors"}}};
  CHECK(*SerializeSafetensorsIndex(index) == kOfTransformers);
  CHECK(*ParseSafetensorsIndex(kOfTransformers) == index);
  CHECK(*SerializeSafetensorsIndex({}) ==
        "{\n  \"metadata\": {},\n  \"weight_map\": {}\n}\n");
}

TEST_CASE("indexes of other programs are read", "[safetensors]") {
  // torch and huggingface_hub have no total_parameters.
  auto index = ParseSafetensorsIndex(
      R"({"metadata":{"total_size":7},"weight_map":{"a":"x.safetensors"}})");
  REQUIRE(index.ok());
  CHECK(index->total_size == 7);
  CHECK(index->total_parameters == std::nullopt);
  CHECK(index->weight_map.at("a") == "x.safetensors");
  for (const char* text :
       {R"({"weight_map":{}})", R"({"weight_map":{},"metadata":null})",
        R"({"weight_map":{},"metadata":{"total_size":1.5}})",
        R"({"weight_map":{},"metadata":{"total_size":-1}})",
        R"({"weight_map":{},"metadata":{"total_size":"9"}})",
        R"({"weight_map":{},"metadata":{"total_size":9223372036854775808}})",
        R"({"weight_map":{},"metadata":{"x":{"total_size":9},"y":[1]}})",
        R"({"weight_map":{},"more":[{"total_size":9,"weight_map":1}]})"}) {
    CAPTURE(text);
    CHECK(ParseSafetensorsIndex(text).value() == SafetensorsIndex{});
  }
}

TEST_CASE("an index of ours names its save, and only so", "[safetensors]") {
  const SafetensorsIndex index{.total_size = 4,
                               .save_id = "dcpcpp-12ab",
                               .weight_map = {{"a", "x.safetensors"}}};
  const auto text = SerializeSafetensorsIndex(index);
  REQUIRE(text.ok());
  CHECK_THAT(*text, Contains("{\n    \"dcpcpp_save_id\": \"dcpcpp-12ab\",\n"
                             "    \"total_size\": 4\n  }"));
  CHECK(*ParseSafetensorsIndex(*text) == index);
  for (const char* value : {"\"dcpcpp-\"", "\"dcpcpp-XY\"", "\"../x\"", "7",
                            "null", "[\"dcpcpp-1\"]"}) {
    CAPTURE(value);
    CHECK_FALSE(ParseSafetensorsIndex(
                    R"({"weight_map":{},"metadata":{"dcpcpp_save_id":)" +
                    std::string(value) + "}}")
                    .value()
                    .save_id);
  }
  CHECK(SerializeSafetensorsIndex({.save_id = "x"}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("what is no index is refused", "[safetensors]") {
  CHECK_THAT(Refusal(""), Contains("not a valid safetensors index: not JSON"));
  CHECK_THAT(Refusal(kOfTransformers.substr(0, 100)), Contains("not JSON"));
  CHECK_THAT(Refusal("[]"), Contains("not a JSON object"));
  CHECK_THAT(Refusal("{}"), Contains("no weight_map"));
  CHECK_THAT(Refusal(R"({"weight_map":[]})"), Contains("not an object"));
  CHECK_THAT(Refusal(R"({"weight_map":null})"), Contains("not an object"));
  CHECK_THAT(Refusal(R"({"weight_map":{},"metadata":[]})"),
             Contains("not an object"));
  for (const char* file : {"1", "null", "[\"x\"]", "{}"}) {
    CHECK_THAT(Refusal(R"({"weight_map":{"a":)" + std::string(file) + "}}"),
               Contains("tensor \"a\" has a file name that is not a string"));
  }
  for (const char* text :
       {R"({"weight_map":{"a":"x","a":"x"}})",
        R"({"weight_map":{},"weight_map":{}})",
        R"({"metadata":{"total_size":1,"total_size":2},"weight_map":{}})"}) {
    CHECK_THAT(Refusal(text), Contains("twice"));
  }
  CHECK_THAT(Refusal(std::string(kMaxSafetensorsIndexNbytes + 1, ' ')),
             Contains("limit"));
}

TEST_CASE("no file of an index is outside of its directory", "[safetensors]") {
  for (const char* good : {"a", "model.safetensors", "sub/a.safetensors", "...",
                           "..a", "a..", "a b", "\xc3\xa9", "a:b", "~"}) {
    CAPTURE(good);
    CHECK(ParseSafetensorsIndex(WithFile(good)).ok());
  }
  for (const char* bad :
       {"", "/", "/etc/passwd", "..", ".", "../a", "a/..", "a/../b", "a/./b",
        "a//b", "a/", "./a", "\\\\server", "..\\\\a", "a\\u0000", "\\u002e."}) {
    CAPTURE(bad);
    CHECK_THAT(Refusal(WithFile(bad)), Contains("no path below"));
  }
  const Status status = ParseSafetensorsIndex(WithFile("../a")).status();
  CHECK(GetErrorDetail(status)->fqn == "a");
}

TEST_CASE("an index that could not be read is not written", "[safetensors]") {
  for (const SafetensorsIndex& index :
       {SafetensorsIndex{.total_size = -1},
        SafetensorsIndex{.total_parameters = -1},
        SafetensorsIndex{.weight_map = {{"a", "../b"}}},
        SafetensorsIndex{.weight_map = {{"a", "\xff"}}},
        SafetensorsIndex{.weight_map = {{"\xff", "b"}}}}) {
    CHECK(SerializeSafetensorsIndex(index).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("an index comes back as written", "[safetensors]") {
  std::mt19937_64 rng(3);
  for (int round = 0; round < 300; ++round) {
    SafetensorsIndex index;
    if (rng() % 2 == 0) index.total_size = static_cast<int64_t>(rng() >> 1);
    if (rng() % 2 == 0) index.total_parameters = 12;
    for (size_t i = rng() % 20; i > 0; --i) {
      const std::string number = std::to_string(i);
      index.weight_map["\"\n\\\xf0\x9f\x98\x80" + number] = "\xc3\xa9" + number;
    }
    const auto text = SerializeSafetensorsIndex(index);
    REQUIRE(text.ok());
    REQUIRE(ParseSafetensorsIndex(*text).value() == index);
  }
}

}  // namespace
}  // namespace dcp
