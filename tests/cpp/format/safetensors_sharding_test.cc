#include "format/safetensors_sharding.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("offsets are read by tensor", "[format]") {
  const auto offsets = ParseShardingInfo(
      R"({"w": {"saved_offsets": [4, 0]}, "scalar": {"saved_offsets": []},)"
      R"( "later": {"more": {"saved_offsets": "x"}, "saved_offsets": [7]}})");
  REQUIRE(offsets.ok());
  CHECK(offsets->at("w") == Dims{4, 0});
  CHECK(offsets->at("scalar") == Dims());
  CHECK(offsets->at("later") == Dims{7});
  CHECK(offsets->size() == 3);
}

TEST_CASE("nothing is held by a file of no tensors", "[format]") {
  const auto offsets = ParseShardingInfo("{}");
  REQUIRE(offsets.ok());
  CHECK(offsets->empty());
}

TEST_CASE("offsets are written as torch writes them", "[format]") {
  const std::map<std::string, Dims> offsets = {
      {"a\"\u00e9", {12, 0}}, {"scalar", {}}, {"w", {7}}};
  const std::string text = SerializeShardingInfo(offsets);
  CHECK(text == R"({"a\"\u00e9": {"saved_offsets": [12, 0]}, )"
                R"("scalar": {"saved_offsets": []}, )"
                R"("w": {"saved_offsets": [7]}})");
  CHECK(ParseShardingInfo(text).value() == offsets);
  CHECK(SerializeShardingInfo({}) == "{}");
}

TEST_CASE("what is no sharding info is damage that names the tensor",
          "[format]") {
  const std::string text = GENERATE(
      as<std::string>{}, R"([])", R"(3)", R"({"w": [4, 0]})", R"({"w": {}})",
      R"({"w": {"saved_offsets": 4}})", R"({"w": {"saved_offsets": null}})",
      R"({"w": {"saved_offsets": [-1]}})", R"({"w": {"saved_offsets": [1.0]}})",
      R"({"w": {"saved_offsets": ["1"]}})",
      R"({"w": {"saved_offsets": [[1]]}})",
      R"({"w": {"saved_offsets": [9223372036854775808]}})",
      R"({"w": {"saved_offsets": {"a": 1}}})");
  CAPTURE(text);
  const Status status = ParseShardingInfo(text).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  const bool has_name = text.find("\"w\"") != std::string::npos;
  CHECK_THAT(std::string(Message(status)),
             Contains(has_name ? "of \"w\"" : "DCP_SHARDING_INFO"));
}

TEST_CASE("more dimensions than a tensor may have are damage", "[format]") {
  std::string text = R"({"w": {"saved_offsets": [0)";
  for (int i = 0; i < 64; ++i) text += ", 0";
  CHECK(ParseShardingInfo(text + "]}}").status().code() ==
        absl::StatusCode::kDataLoss);
}

TEST_CASE("broken text is damage", "[format]") {
  CHECK_THAT(std::string(Message(ParseShardingInfo(R"({"w": )").status())),
             Contains("DCP_SHARDING_INFO") && Contains("not JSON"));
}

}  // namespace
}  // namespace dcp
