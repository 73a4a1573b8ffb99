// Which rule counts, and what is an error whatever the layout.

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "mapping/mapping_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

const MappingOptions kToNative{.direction = MappingDirection::kToNative};

TEST_CASE("a key without a rule is an error that names it", "[mapping]") {
  const Mapping mapping = OneRule(R"("native": "a", "hf": "b")");
  const std::string why = WhyNot(mapping, {{"a", {}},
                                           {"u1", {}},
                                           {"u2", {}},
                                           {"u3", {}},
                                           {"u4", {}},
                                           {"u5", {}},
                                           {"u6", {}}});
  CHECK_THAT(why, Contains("6 key(s): u1, u2, u3, u4, u5, ...;"));
  CHECK_THAT(WhyNot(mapping, {{"a", {}}}, kToNative), Contains("1 key(s): a;"));
}

TEST_CASE("what is dropped leaves nothing, objects too", "[mapping]") {
  const Mapping mapping = Parsed(R"({"rules": [
      {"native": "optimizer.*", "drop": true},
      {"native": "a", "hf": "b"}]})");
  const std::vector<MappingSource> keys{
      {.name = "optimizer.lr", .is_object = true},
      {.name = "optimizer.m", .sizes = {3}},
      {.name = "a", .sizes = {2}}};
  const auto plan = mapping.Plan(keys, {});
  REQUIRE(plan.ok());
  REQUIRE(plan->size() == 1);
  CHECK(plan->at(0).name == "b");
  CHECK(plan->at(0).parts.at(0).source == 2);
  const std::vector<MappingSource> object{{.name = "a", .is_object = true}};
  CHECK_THAT(std::string(Message(mapping.Plan(object, {}).status())),
             Contains("a is an object") && Contains("rule 2"));
}

TEST_CASE("scales are dropped only if weights were dequantized", "[mapping]") {
  const Mapping mapping = Parsed(R"({"rules": [
      {"hf": "*_scales", "drop": "dequantized"},
      {"native": "w", "hf": "w"}]})");
  CHECK(mapping.dequantizes());
  const std::vector<std::pair<std::string, Dims>> keys{{"w", {2}},
                                                       {"w_scales", {1}}};
  CHECK_THAT(WhyNot(mapping, keys, kToNative), Contains("w_scales"));
  MappingOptions dequantized = kToNative;
  dequantized.is_dequantized = true;
  CheckMaps(mapping, NumberedAll(keys), {{"w", Numbered({2})}}, dequantized);
}

TEST_CASE("the first rule for a key counts", "[mapping]") {
  const Mapping mapping = Parsed(R"({"rules": [
      {"native": "a.{i}", "hf": "first.{i}"},
      {"native": "a.{i}", "hf": "second.{i}"}]})");
  CheckMaps(mapping, {{"a.1", Numbered({2})}}, {{"first.1", Numbered({2})}},
            {});
  CheckMaps(mapping, {{"second.1", Numbered({2})}}, {{"a.1", Numbered({2})}},
            kToNative);
  CHECK_THAT(WhyNot(mapping, {{"first.1", {}}, {"second.1", {}}}, kToNative),
             Contains("second.1: another key becomes a.1"));
}

TEST_CASE("own rules come before those of a model", "[mapping]") {
  const Mapping base = Parsed(R"({"name": "base",
      "flavors": {"x": {"n": 1}, "y": {"n": 2}},
      "rules": [{"native": "a", "hf": "b"}, {"native": "c", "hf": "d"}]})");
  const Mapping own = Parsed(R"({"flavors": {"x": {"n": 3}},
      "rules": [{"native": "a", "hf": "mine"}]})");
  CheckMaps(own.Over(base), NumberedAll({{"a", {2}}, {"c", {2}}}),
            {{"mine", Numbered({2})}, {"d", Numbered({2}, 2)}}, {});
  CHECK(own.Over(base).NumbersOfFlavor("x").value() == ModelNumbers{{"n", 3}});
  CHECK(own.Over(base).NumbersOfFlavor("y").value() == ModelNumbers{{"n", 2}});
  const Status unknown = base.NumbersOfFlavor("z").status();
  CHECK(unknown.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(unknown)), Contains("only: x, y"));
}

TEST_CASE("native names are spelled as their version has them", "[mapping]") {
  const Mapping mapping = Parsed(R"({
      "dialects": [{"name": "2"}, {"name": "1", "replace": [["qkv.", ""]]}],
      "rules": [{"native": "l.{i}.qkv.wq", "hf": "q.{i}"}]})");
  const CellsOf hf{{"q.0", Numbered({2})}};
  CheckBothWays(mapping, {{"l.0.qkv.wq", Numbered({2})}}, hf);
  CheckMaps(mapping, {{"l.0.wq", Numbered({2})}}, hf, {});
  MappingOptions old = kToNative;
  old.dialect = "1";
  CheckMaps(mapping, hf, {{"l.0.wq", Numbered({2})}}, old);
  CHECK_THAT(WhyNot(mapping, {{"l.0.qkv.wq", {2}}}, {.dialect = "1"}),
             Contains("(dialect 1) has no rule"));
  CHECK_THAT(WhyNot(mapping, {{"q.0", {2}}}, {.dialect = "0"}),
             Contains("no dialect \"0\", only: 2, 1"));
  CHECK_THAT(WhyNot(mapping, {{"l.0.wq", {2}}, {"l.0.qkv.wq", {2}}}),
             Contains("(dialect 2) has no rule for 1 key(s): l.0.wq"));
  // What is wrong is the key that no version has.
  CHECK_THAT(WhyNot(mapping, {{"l.0.wq", {2}}, {"l.1.wq", {2}}, {"x", {}}}),
             Contains("(dialect 1) has no rule for 1 key(s): x;"));
}

TEST_CASE("a dialect that breaks a rule is an error", "[mapping]") {
  for (const char* to : {"", "{j}.", "*."}) {
    CAPTURE(to);
    const Mapping mapping =
        Parsed(R"({"dialects": [{"name": "bad", "replace": [["{i}.", ")" +
               std::string(to) + R"("]]}],
            "rules": [{"native": "a", "hf": "a"},
                      {"native": "l.{i}.w", "hf": "m.{i}.w"}]})");
    CHECK_THAT(WhyNot(mapping, {{"m.0.w", {2}}}, kToNative),
               Contains("rule 2 of the mapping, as dialect bad"));
  }
  const Mapping endless = Parsed(
      R"({"dialects": [{"name": "long", "replace": [
          ["x", "xxxxxxxx"], ["x", "xxxxxxxx"], ["x", "xxxxxxxx"],
          ["x", "xxxxxxxx"], ["x", "xxxxxxxx"], ["x", "xxxxxxxx"],
          ["x", "xxxxxxxx"], ["x", "xxxxxxxx"], ["x", "xxxxxxxx"],
          ["x", "xxxxxxxx"], ["x", "xxxxxxxx"], ["x", "xxxxxxxx"]]}],
          "rules": [{"native": "x", "hf": "y"}]})");
  CHECK_THAT(WhyNot(endless, {{"y", {2}}}, kToNative),
             Contains("longer than 1000"));
}

TEST_CASE("a tied tensor is left out and comes back", "[mapping]") {
  const Mapping mapping = Parsed(R"({"rules": [
      {"native": "embed", "hf": "model.embed"},
      {"native": "head", "hf": "lm_head",
       "tie": {"to": "embed", "if": "tied"}}]})");
  const ModelNumbers tied{{"tied", 1}};
  const CellsOf both{{"embed", Numbered({3, 2})}, {"head", Numbered({3, 2})}};
  CheckBothWays(mapping, both, {{"model.embed", Numbered({3, 2})}}, tied);
  // Files that have it all the same count.
  MappingOptions back = kToNative;
  back.numbers = tied;
  CheckMaps(mapping, NumberedAll({{"lm_head", {2}}, {"model.embed", {2}}}),
            NumberedAll({{"head", {2}}, {"embed", {2}}}), back);
  CheckBothWays(mapping, NumberedAll({{"embed", {2}}, {"head", {2}}}),
                NumberedAll({{"model.embed", {2}}, {"lm_head", {2}}}));
  for (const ModelNumbers& numbers :
       {ModelNumbers{}, ModelNumbers{{"tied", 0}}}) {
    back.numbers = numbers;
    CHECK_THAT(WhyNot(mapping, {{"model.embed", {3, 2}}}, back),
               Contains("lm_head is missing") && Contains("tied"));
  }
}

const char* const kTied = R"({"rules": [
    {"native": "embed", "hf": "model.embed"},
    {"native": "head", "hf": "lm_head",
     "tie": {"to": "embed", "if": "tied"}}]})";

TEST_CASE("a tie does not act on what another rule is for", "[mapping]") {
  const CellsOf embed{{"embed", Numbered({2})}};
  const CellsOf hf{{"model.embed", Numbered({2})}};
  for (const char* own : {R"({"native": "head", "drop": true})",
                          R"({"hf": "lm_head", "drop": true})",
                          R"({"native": "head", "hf": "mine"})",
                          R"({"native": "mine", "hf": "lm_head"})"}) {
    CAPTURE(own);
    const Mapping mapping =
        Parsed(R"({"rules": [)" + std::string(own) + "]}").Over(Parsed(kTied));
    for (const int64_t tied : {0, 1}) {
      MappingOptions back = kToNative;
      back.numbers = {{"tied", tied}};
      CheckMaps(mapping, hf, embed, back);
    }
  }
}

TEST_CASE("what the user leaves out is neither made nor missed", "[mapping]") {
  const std::vector<MappingSource> keys{
      {.name = "lm_head", .sizes = {2}, .is_left_out = true},
      {.name = "unknown", .is_left_out = true},
      {.name = "model.embed", .sizes = {2}}};
  for (const int64_t tied : {0, 1}) {
    MappingOptions back = kToNative;
    back.numbers = {{"tied", tied}};
    const auto plan = Parsed(kTied).Plan(keys, back);
    REQUIRE(plan.ok());
    REQUIRE(plan->size() == 1);
    CHECK(plan->at(0).name == "embed");
    CHECK(plan->at(0).parts.at(0).source == 2);
  }
}

TEST_CASE("a tied tensor of another shape is not dropped unseen", "[mapping]") {
  CHECK_THAT(WhyNot(Parsed(kTied), {{"embed", {3, 2}}, {"head", {4, 2}}},
                    {.numbers = {{"tied", 1}}}),
             Contains("head has the shape [4, 2] and embed has [3, 2]") &&
                 Contains("tied"));
}

TEST_CASE("who maps is told what is tied without being known to be",
          "[mapping]") {
  const Mapping mapping = Parsed(kTied);
  const MappingOptions options{.numbers = {{"tied", 1}}};
  std::vector<MappingSource> keys{{.name = "head", .sizes = {2}},
                                  {.name = "embed", .sizes = {2}}};
  const auto names_and_ties = [&] {
    const auto plan = mapping.Plan(keys, options);
    const auto ties = mapping.Ties(keys, options);
    REQUIRE(plan.ok());
    REQUIRE(ties.ok());
    std::string text;
    for (const MappedTensor& tensor : *plan) text += tensor.name + " ";
    for (const TiedSource& tie : *ties) {
      text += std::to_string(tie.source) + "=" + std::to_string(tie.kept) +
              " by " + tie.condition;
    }
    return text;
  };
  CHECK(names_and_ties() == "model.embed 0=1 by tied");
  keys[0].identity = keys[1].identity = "embed";
  CHECK(names_and_ties() == "model.embed ");
  keys[0].identity = "head";
  CHECK(names_and_ties() == "lm_head model.embed ");
  keys[0].sizes = {3};
  CHECK(names_and_ties() == "lm_head model.embed ");
}

TEST_CASE("a tied tensor whose other name is missing is not dropped",
          "[mapping]") {
  const Mapping mapping = Parsed(kTied);
  const MappingOptions options{.numbers = {{"tied", 1}}};
  std::vector<MappingSource> keys{{.name = "head", .sizes = {2}}};
  for (const bool is_left_out : {false, true}) {
    const Status failed = mapping.Plan(keys, options).status();
    CHECK(failed.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(failed)),
               Contains("head is another name of embed") && Contains("tied"));
    if (is_left_out) break;
    keys.push_back({.name = "embed", .sizes = {2}, .is_left_out = true});
  }
}

TEST_CASE("sizes and numbers that overflow are errors", "[mapping]") {
  const int64_t huge = int64_t{1} << 62;
  const Mapping joined =
      OneRule(R"("native": "w", "hf": ["a", "b"], "concat": 0)");
  CHECK_THAT(WhyNot(joined, {{"a", {huge, 0}}, {"b", {huge, 0}}}, kToNative),
             Contains("cannot be joined"));
  CHECK_THAT(WhyNot(joined, {{"a", {huge}}, {"b", {huge - 1}}}, kToNative),
             Contains("too large"));
  const Mapping stacked =
      OneRule(R"("native": "w", "hf": "e.{e}", "stack": "e")");
  CHECK_THAT(WhyNot(stacked, {{"w", {huge, 0}}}), Contains("can be stacked"));
  const Mapping reshaped = OneRule(
      R"("native": "w", "hf": "v",
         "native_steps": [{"reshape": {"from": [-1, -1], "to": [-1]}}])");
  CHECK_THAT(WhyNot(reshaped, {{"w", {huge, huge, 0}}}), Contains("too large"));
  const Mapping offset = OneRule(R"("native": "w.{i}", "hf": "v.{i+n}")");
  const int64_t least = std::numeric_limits<int64_t>::min();
  CHECK_THAT(WhyNot(offset, {{"w.1", {}}},
                    {.numbers = {{"n", std::numeric_limits<int64_t>::max()}}}),
             Contains("too large for an index"));
  MappingOptions back = kToNative;
  back.numbers = {{"n", least}};
  CHECK_THAT(WhyNot(offset, {{"v.1", {}}}, back), Contains("no rule"));
}

TEST_CASE("parts of a tensor have one dtype", "[mapping]") {
  const Mapping mapping =
      OneRule(R"("native": "w", "hf": ["a", "b"], "concat": 0)");
  const std::vector<MappingSource> keys{
      {.name = "a", .sizes = {2}, .dtype = DType::kBFloat16},
      {.name = "b", .sizes = {2}, .dtype = DType::kFloat32}};
  CHECK_THAT(std::string(Message(mapping.Plan(keys, kToNative).status())),
             Contains("b has not the dtype of a"));
}

}  // namespace
}  // namespace dcp
