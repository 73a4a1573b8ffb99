#include "mapping/name_pattern.h"

#include <catch2/catch.hpp>

namespace dcp {
namespace {

using Catch::Matchers::Contains;

NamePattern Pattern(std::string_view text) {
  const auto pattern = NamePattern::Parse(text);
  REQUIRE(pattern.ok());
  return *pattern;
}

std::optional<NameIndices> Match(std::string_view pattern,
                                 std::string_view name,
                                 const ModelNumbers& numbers = {}) {
  const auto match = Pattern(pattern).Match(name, numbers);
  REQUIRE(match.ok());
  return *match;
}

TEST_CASE("names match patterns index by index", "[mapping]") {
  CHECK(Match("a.b", "a.b") == NameIndices{});
  CHECK(Match("layers.{l}.e.{e}.w", "layers.12.e.0.w") ==
        NameIndices{{"e", 0}, {"l", 12}});
  CHECK(Match("{l}", "7") == NameIndices{{"l", 7}});
  for (const char* name :
       {"layers.x.w", "layers..w", "layers.1.ww", "alayers.1.w", "layers.01.w",
        "layers.-1.w", "layers.1234567890123456789.w", ""}) {
    CAPTURE(name);
    CHECK(Match("layers.{l}.w", name) == std::nullopt);
  }
}

TEST_CASE("an index may be larger by a number of the model", "[mapping]") {
  const std::string_view pattern = "layers.{mtp+num_layers}.w";
  const ModelNumbers numbers{{"num_layers", 61}};
  CHECK(Match(pattern, "layers.62.w", numbers) == NameIndices{{"mtp", 1}});
  CHECK(Match(pattern, "layers.60.w", numbers) == std::nullopt);
  CHECK(Pattern(pattern).NameOf({{"mtp", 1}}, numbers).value() ==
        "layers.62.w");
  const Status unknown = Pattern(pattern).Match("layers.62.w", {}).status();
  CHECK(unknown.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(unknown)), Contains("\"num_layers\""));
  CHECK(Match(pattern, "norm.w") == std::nullopt);
}

TEST_CASE("a * is any text", "[mapping]") {
  CHECK(Match("optimizer.*", "optimizer.state.x") == NameIndices{});
  CHECK(Match("optimizer.*", "optimizer") == std::nullopt);
  CHECK(Match("*.scale", "a.b.scale") == NameIndices{});
  CHECK(Match("*.{l}.scale", "a.1.2.scale") == NameIndices{{"l", 2}});
  CHECK(Pattern("a*").has_wildcard());
  CHECK_FALSE(Pattern("a{b}").has_wildcard());
}

TEST_CASE("what is no pattern is refused", "[mapping]") {
  for (const char* text : {"", "a.{", "a.{}", "{a}{b}", "{a}.{a}", "{a}1",
                           "{+n}", "{a+}", "{a*}", "*{a}"}) {
    CAPTURE(text);
    CHECK(NamePattern::Parse(text).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("what would take long to match is no pattern", "[mapping]") {
  CHECK(Match("*.a.*.b.*", "x.a.y.b.z") == NameIndices{});
  const std::string wild(NamePattern::kMaxWildcards + 1, '*');
  const std::string longest(NamePattern::kMaxNbytes, 'x');
  CHECK(NamePattern::Parse(longest).ok());
  for (const std::string& text :
       {wild, std::string(2'000'000, '*'), longest + "x"}) {
    CHECK(NamePattern::Parse(text).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dcp
