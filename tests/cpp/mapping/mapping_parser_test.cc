#include "mapping/mapping_parser.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string WhyNot(const std::string& json) {
  const auto table = ParseMappingTable(json);
  CHECK(table.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(table.status()));
}

TEST_CASE("a mapping is read from JSON", "[mapping]") {
  const auto table = ParseMappingTable(R"({
      "name": "mine",
      "dialects": [{"name": "b"}, {"name": "a", "replace": [["x.", "y."]]}],
      "flavors": {"8B": {"heads": 32}},
      "rules": [
        {"native": "x.{l}", "hf": "z.{l}.{e}", "stack": "e", "count": 4},
        {"native": "x.*", "drop": true},
        {"hf": "s", "drop": "dequantized"},
        {"native": "h", "hf": "h", "tie": {"to": "t", "if": "tied"}}]})");
  REQUIRE(table.ok());
  CHECK(table->name == "mine");
  CHECK(table->flavors.at("8B") == ModelNumbers{{"heads", 32}});
  REQUIRE(table->dialects.size() == 2);
  CHECK(table->dialects[0].Spell("x.1") == "x.1");
  CHECK(table->dialects[1].Spell("x.1.x.2") == "y.1.y.2");
  REQUIRE(table->rules.size() == 4);
  CHECK(table->rules[0].many() == kHuggingFaceSide);
  CHECK(table->rules[0].stack == "e");
  CHECK(table->rules[1].kind == MappingRule::Kind::kDrop);
  CHECK(table->rules[2].kind == MappingRule::Kind::kDropDequantized);
  CHECK(table->rules[3].tie->condition == "tied");
}

TEST_CASE("what is no mapping is refused", "[mapping]") {
  CHECK_THAT(WhyNot("{"), Contains("the mapping: not JSON"));
  CHECK_THAT(WhyNot("[]"), Contains("no JSON object"));
  CHECK_THAT(WhyNot("{}"), Contains("\"rules\""));
  CHECK_THAT(WhyNot(R"({"rules": {}})"), Contains("no list"));
  CHECK_THAT(WhyNot(R"({"rules": [], "extra": 1})"), Contains("\"extra\""));
  CHECK_THAT(WhyNot(R"({"rules": [], "name": 1})"), Contains("no string"));
  CHECK_THAT(WhyNot(R"({"rules": [], "flavors": {"8B": {"heads": "x"}}})"),
             Contains("heads of flavor 8B"));
  CHECK_THAT(WhyNot(R"({"rules": [], "dialects": [{}]})"), Contains("no name"));
  CHECK_THAT(
      WhyNot(R"({"rules": [], "dialects": [{"name": "a", "replace": [1]}]})"),
      Contains("pairs"));
  CHECK_THAT(WhyNot(R"({"rules": [], "dialects": [
          {"name": "a", "replace": [["", ""]]}]})"),
             Contains("replaces nothing"));
}

TEST_CASE("a rule that says nothing sensible is refused by its number",
          "[mapping]") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "both sides"},
      {R"("native": "a")", "both sides"},
      {R"("native": "a", "hf": "b", "twist": 1)", "\"twist\""},
      {R"("native": "a", "hf": [])", "nor a list"},
      {R"("native": "a", "hf": 1)", "nor a list"},
      {R"("native": "a", "hf": ["b", "c"])", "\"concat\""},
      {R"("native": ["a", "d"], "hf": ["b", "c"], "concat": 0)",
       "both sides have several"},
      {R"("native": "a.{l}", "hf": "b")", "differ in placeholders"},
      {R"("native": "a", "hf": ["b.{l}", "c.{m}"], "concat": 0)",
       "one side differ"},
      {R"("native": "a", "hf": "b.{e}", "stack": "f")", "{f}"},
      {R"("native": "a", "hf": "b", "count": 2)", "\"count\""},
      {R"("native": "a", "hf": ["b", "c"], "concat": 0, "sizes": [1])",
       "1 sizes for 2 names"},
      {R"("native": "a*", "hf": "b")", "a * is for"},
      {R"("native": "a", "hf": "b", "drop": true)", "names of one side"},
      {R"("native": "a", "drop": false)", "neither true nor"},
      {R"("native": "a.{", "hf": "b")", "{ without }"},
      {R"("native": "a", "hf": "b", "tie": {"to": "c"})", "\"tie\""},
      {R"("native": "a", "hf": "b", "cast": {"hf": "float7"})", "float7"},
      {R"("native": "a", "hf": "b", "hf_steps": [{"turn": 1}])", "\"turn\""},
      {R"("native": "a", "hf": "b", "hf_steps": [{"transpose": [1]}])",
       "two dimensions"},
      {R"("native": "a", "hf": "b", "hf_steps": [{"swap_halves": "x"}])",
       "small whole number"},
      {R"("native": "a", "hf": "b", "hf_steps": [{"reshape": {"to": [1]}}])",
       "\"from\""},
      {R"("native": "a", "hf": "b", "hf_steps": [{"permute_heads": []}])",
       "neither a number"},
  };
  for (const auto& [rule, why] : cases) {
    CAPTURE(rule);
    const std::string message =
        WhyNot(R"({"rules": [{"native": "x", "hf": "y"}, {)" +
               std::string(rule) + "}]}");
    CHECK_THAT(message, Contains("rule 2: ") && Contains(why));
  }
}

}  // namespace
}  // namespace dcp
