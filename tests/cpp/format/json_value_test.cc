#include "format/json_value.h"

#include <catch2/catch.hpp>
#include <string>

namespace dcp {
namespace {

TEST_CASE("a JSON text becomes a tree", "[json]") {
  const auto parsed = ParseJson(
      R"({"a":[1,-2,1.5,{"b":null}],"c":true,"d":"x","e":18446744073709551615})");
  REQUIRE(parsed.ok());
  const auto* const list = parsed->Find("a")->As<JsonValue::Array>();
  REQUIRE(list != nullptr);
  REQUIRE(list->size() == 4);
  CHECK(*(*list)[0].As<int64_t>() == 1);
  CHECK(*(*list)[1].As<int64_t>() == -2);
  CHECK(*(*list)[2].As<double>() == 1.5);
  CHECK((*list)[3].Find("b")->As<std::monostate>() != nullptr);
  CHECK(*parsed->Find("c")->As<bool>());
  CHECK(*parsed->Find("d")->As<std::string>() == "x");
  CHECK(*parsed->Find("e")->As<double>() > 1e19);
  CHECK(parsed->Find("f") == nullptr);
  CHECK(parsed->Find("d")->Find("x") == nullptr);
  CHECK(parsed->Find("d")->As<int64_t>() == nullptr);
}

TEST_CASE("a value alone is a tree, and no JSON is an error", "[json]") {
  CHECK(*ParseJson("7")->As<int64_t>() == 7);
  CHECK(ParseJson("[]")->As<JsonValue::Array>()->empty());
  for (const std::string& text :
       {std::string("{"), std::string("{\"a\":1,\"a\":2}"),
        std::string(kMaxJsonValueNbytes + 1, ' ')}) {
    CHECK(ParseJson(text).status().code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dcp
