// Each kind of rule, by tables that were made by hand.

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "mapping/mapping_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

const MappingOptions kToNative{.direction = MappingDirection::kToNative};

Cells Transposed(const Cells& matrix) {
  Cells turned{.sizes = {matrix.sizes[1], matrix.sizes[0]}};
  ForEachIndex(turned.sizes, [&](const Dims& index) {
    turned.values.push_back(
        matrix.values[FlatIndex(matrix.sizes, {index[1], index[0]})]);
  });
  return turned;
}

TEST_CASE("a rule gives a tensor another name", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "layers.{layer}.w", "hf": "model.layers.{layer}.weight")");
  CheckBothWays(mapping,
                {{"layers.0.w", Numbered({3, 4})},
                 {"layers.11.w", Numbered({}, 90)},
                 {"layers.2.w", Numbered({0, 7})}},
                {{"model.layers.0.weight", Numbered({3, 4})},
                 {"model.layers.11.weight", Numbered({}, 90)},
                 {"model.layers.2.weight", Numbered({0, 7})}});
}

TEST_CASE("rows of heads go from pairs to halves and back", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "wq", "hf": "q", "hf_steps": [{"permute_heads": "heads"}])");
  const Cells native = Numbered({8, 3});
  CheckBothWays(mapping, {{"wq", native}},
                {{"q", Rows(native, {0, 2, 1, 3, 4, 6, 5, 7})}},
                {{"heads", 2}});
  CheckBothWays(mapping, {{"wq", native}},
                {{"q", Rows(native, {0, 2, 4, 6, 1, 3, 5, 7})}},
                {{"heads", 1}});
  // A bias has rows, too.
  CheckBothWays(mapping, {{"wq", Numbered({4})}},
                {{"q", {.sizes = {4}, .values = {0, 2, 1, 3}}}},
                {{"heads", 1}});
}

TEST_CASE("what does not fit heads is an error, and so are unknown heads",
          "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "wq", "hf": "q", "hf_steps": [{"permute_heads": "heads"}])");
  const std::string unknown = WhyNot(mapping, {{"wq", {8, 3}}});
  CHECK_THAT(unknown, Contains("wq: ") && Contains("\"heads\"") &&
                          Contains("config.json"));
  CHECK_THAT(WhyNot(mapping, {{"wq", {8, 3}}}, {.numbers = {{"heads", 3}}}),
             Contains("8 rows are not those of 3 heads"));
  CHECK_THAT(WhyNot(mapping, {{"wq", {8, 3}}}, {.numbers = {{"heads", 8}}}),
             Contains("8 rows are not those of 8 heads"));
  CHECK_THAT(WhyNot(mapping, {{"wq", {}}}, {.numbers = {{"heads", 1}}}),
             Contains("0 rows"));
  CHECK_THAT(WhyNot(mapping, {{"wq", {8, 3}}}, {.numbers = {{"heads", 0}}}),
             Contains("is no size"));
}

TEST_CASE("a rule transposes", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "a", "hf": "b", "hf_steps": [{"transpose": [-2, -1]}])");
  const Cells native = Numbered({3, 5});
  CheckBothWays(mapping, {{"a", native}}, {{"b", Transposed(native)}});
  CHECK_THAT(WhyNot(mapping, {{"a", {3}}}), Contains("no dimension -2"));
}

TEST_CASE("a rule exchanges halves", "[mapping]") {
  const Mapping mapping =
      OneRule(R"("native": "a", "hf": "b", "hf_steps": [{"swap_halves": 0}])");
  const Cells native = Numbered({6, 2});
  CheckBothWays(mapping, {{"a", native}},
                {{"b", Rows(native, {3, 4, 5, 0, 1, 2})}});
  CheckBothWays(mapping, {{"a", Numbered({2, 1})}},
                {{"b", {.sizes = {2, 1}, .values = {1, 0}}}});
  CHECK_THAT(WhyNot(mapping, {{"a", {3}}}), Contains("has no halves"));
}

TEST_CASE("a rule reshapes where both know the elements' order", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "linear", "hf": "conv", "hf_steps": [{"reshape":
         {"dim": 1, "from": [3, "kernel", "kernel"], "to": [-1]}}])");
  CheckBothWays(mapping, {{"linear", Numbered({5, 12})}},
                {{"conv", Numbered({5, 3, 2, 2})}}, {{"kernel", 2}});
  CHECK_THAT(
      WhyNot(mapping, {{"linear", {5, 13}}}, {.numbers = {{"kernel", 2}}}),
      Contains("13 elements cannot have the sizes [3, 2, 2]"));
  MappingOptions back = kToNative;
  back.numbers = {{"kernel", 2}};
  CHECK_THAT(WhyNot(mapping, {{"conv", {5, 3, 2, 4}}}, back),
             Contains("24 elements"));
  CHECK_THAT(WhyNot(mapping, {{"conv", {5, 3}}}, back),
             Contains("too few dimensions"));
}

TEST_CASE("several names are joined, and divided by their sizes", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "linear1", "hf": ["q", "k", "mlp"], "concat": 0,
         "sizes": ["a*b", "a", -1])");
  const Cells native = Numbered({9, 2});
  CheckBothWays(mapping, {{"linear1", native}},
                {{"q", Rows(native, {0, 1, 2, 3})},
                 {"k", Rows(native, {4, 5})},
                 {"mlp", Rows(native, {6, 7, 8})}},
                {{"a", 2}, {"b", 2}});
  CHECK_THAT(
      WhyNot(mapping, {{"linear1", {3, 2}}}, {.numbers = {{"a", 2}, {"b", 2}}}),
      Contains("sum"));
  CHECK_THAT(WhyNot(mapping, {{"k", {2, 2}}, {"mlp", {3, 2}}}, kToNative),
             Contains("q is missing"));
  CHECK_THAT(WhyNot(mapping, {{"q", {4, 2}}, {"k", {2, 2}}, {"mlp", {3, 3}}},
                    kToNative),
             Contains("cannot be joined"));
}

TEST_CASE("without sizes the parts are alike", "[mapping]") {
  const Mapping mapping =
      OneRule(R"("native": "qkv", "hf": ["q", "k", "v"], "concat": -1)");
  CheckBothWays(mapping, {{"qkv", {.sizes = {3}, .values = {0, 1, 2}}}},
                {{"q", Numbered({1}, 0)},
                 {"k", Numbered({1}, 1)},
                 {"v", Numbered({1}, 2)}});
  CHECK_THAT(WhyNot(mapping, {{"qkv", {4}}}),
             Contains("4 cannot be divided by 3"));
}

TEST_CASE("parts are joined only if they would be divided so", "[mapping]") {
  const Mapping alike =
      OneRule(R"("native": "qkv", "hf": ["q", "k", "v"], "concat": 0)");
  CHECK_THAT(
      WhyNot(alike, {{"q", {4, 2}}, {"k", {2, 2}}, {"v", {3, 2}}}, kToNative),
      Contains("q has 4 of the 9") && Contains("not 3"));
  const Mapping sized = OneRule(
      R"("native": "w", "hf": ["a", "b", "c"], "concat": 0,
         "sizes": ["rows", 1, -1])");
  const std::vector<std::pair<std::string, Dims>> parts{
      {"a", {4, 2}}, {"b", {2, 2}}, {"c", {3, 2}}};
  CHECK_THAT(WhyNot(sized, parts, kToNative), Contains("\"rows\""));
  MappingOptions known = kToNative;
  known.numbers = {{"rows", 4}};
  CHECK_THAT(WhyNot(sized, parts, known),
             Contains("b has 2 of the 9") && Contains("not 1"));
}

TEST_CASE("a tensor of more dimensions than torch's is refused", "[mapping]") {
  std::string ones = "1";
  for (int i = 0; i < Dims::kMaxDims; ++i) ones += ", 1";
  const Mapping mapping = OneRule(
      R"("native": "a", "hf": "b",
         "hf_steps": [{"reshape": {"from": [)" +
      ones + R"(], "to": [1]}}])");
  CHECK_THAT(WhyNot(mapping, {{"a", {1}}}), Contains("65 dimensions"));
}

TEST_CASE("a fused projection of grouped heads is taken apart", "[mapping]") {
  const Mapping mapping = OneRule(R"(
      "native": "wqkv", "hf": ["wq", "wk", "wv"], "concat": 1,
      "sizes": ["2*head", "head", "head"],
      "native_steps": [{"reshape": {"from": [-1], "to": ["groups", -1]}}],
      "hf_steps": [{"reshape": {"from": [-1], "to": ["groups", -1]}}])");
  const Cells native = Numbered({16, 3});
  CheckBothWays(mapping, {{"wqkv", native}},
                {{"wq", Rows(native, {0, 1, 2, 3, 8, 9, 10, 11})},
                 {"wk", Rows(native, {4, 5, 12, 13})},
                 {"wv", Rows(native, {6, 7, 14, 15})}},
                {{"head", 2}, {"groups", 2}});
}

TEST_CASE("rows that alternate are taken apart", "[mapping]") {
  const Mapping mapping = OneRule(R"(
      "native": ["gate", "up"], "hf": "gate_up", "concat": 1,
      "native_steps": [{"reshape": {"from": [-1], "to": [-1, 1]}}],
      "hf_steps": [{"reshape": {"from": [-1], "to": [-1, 2]}}])");
  const Cells hf = Numbered({6, 2});
  CheckBothWays(mapping,
                {{"gate", Rows(hf, {0, 2, 4})}, {"up", Rows(hf, {1, 3, 5})}},
                {{"gate_up", hf}});
}

TEST_CASE("experts are stacked and unstacked", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "l.{layer}.w", "hf": "m.{layer}.experts.{e}.w",
         "stack": "e", "count": "experts")");
  CellsOf hf;
  for (int64_t e = 0; e < 12; ++e) {
    hf["m.3.experts." + std::to_string(e) + ".w"] = Numbered({2, 3}, 6 * e);
  }
  CheckBothWays(mapping, {{"l.3.w", Numbered({12, 2, 3})}}, hf);
  CheckBothWays(mapping, {{"l.3.w", Numbered({12, 2, 3})}}, hf,
                {{"experts", 12}});
  CHECK_THAT(
      WhyNot(mapping, {{"l.3.w", {12, 2}}}, {.numbers = {{"experts", 16}}}),
      Contains("12") && Contains("16"));
  CHECK_THAT(
      WhyNot(mapping, {{"m.3.experts.0.w", {2}}, {"m.3.experts.2.w", {2}}},
             kToNative),
      Contains("m.3.experts.1.w is missing"));
  MappingOptions counted = kToNative;
  counted.numbers = {{"experts", 2}};
  CHECK_THAT(WhyNot(mapping, {{"m.3.experts.0.w", {2}}}, counted),
             Contains("there are 1 of what the model has 2 of"));
}

TEST_CASE("stacked tensors are transposed one by one", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "w", "hf": "e.{e}", "stack": "e",
         "hf_steps": [{"transpose": [0, 1]}])");
  const Cells native = Numbered({2, 3, 4});
  CheckBothWays(mapping, {{"w", native}},
                {{"e.0", Transposed(Numbered({3, 4}))},
                 {"e.1", Transposed(Numbered({3, 4}, 12))}});
}

TEST_CASE("halves of the last dimension, transposed, are two tensors",
          "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": ["w1", "w3"], "hf": "gate_up", "concat": 2,
         "native_steps": [{"transpose": [-2, -1]}])");
  // One expert: [D, 2F] of D = 2, F = 3.
  const Cells hf = Numbered({1, 2, 6});
  CheckBothWays(mapping,
                {{"w1", {.sizes = {1, 3, 2}, .values = {0, 6, 1, 7, 2, 8}}},
                 {"w3", {.sizes = {1, 3, 2}, .values = {3, 9, 4, 10, 5, 11}}}},
                {{"gate_up", hf}});
}

StatusOr<std::vector<MappedTensor>> PlanOf(const Mapping& mapping,
                                           const MappingSource& key,
                                           const MappingOptions& options) {
  return mapping.Plan(std::vector<MappingSource>{key}, options);
}

TEST_CASE("a rule casts what a side stores", "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "a", "hf": "b",
         "cast": {"native": "float32", "hf": "bfloat16"})");
  const MappingSource key{.name = "a", .sizes = {2}};
  const auto to_hf = PlanOf(mapping, key, {});
  REQUIRE(to_hf.ok());
  CHECK(to_hf->at(0).dtype == DType::kBFloat16);
  const MappingSource back{
      .name = "b", .sizes = {2}, .dtype = DType::kBFloat16};
  const auto to_native = PlanOf(mapping, back, kToNative);
  REQUIRE(to_native.ok());
  CHECK(to_native->at(0).dtype == DType::kFloat32);
  const MappingSource packed{
      .name = "b", .sizes = {2}, .dtype = DType::kFloat4E2M1FNX2};
  CHECK_THAT(std::string(Message(PlanOf(mapping, packed, kToNative).status())),
             Contains("cannot become float32"));
}

}  // namespace
}  // namespace dcp
