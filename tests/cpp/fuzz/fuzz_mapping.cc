// Mappings that users wrote, and a model's config.json, which may come from a
// hub: what is accepted plans, or says why not, whatever its numbers are.

#include <string_view>

#include "dcp/mapping.h"
#include "fuzz/fuzz_target.h"
#include "mapping/builtin_mappings.h"

namespace dcp {
namespace {

constexpr std::string_view kConfig =
    R"({"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "text_config": {"hidden_size": 64, "is": true},
        "rope": [1, 2.5, "x"], "model_type": "llama"})";

constexpr std::string_view kSmall = R"({
  "name": "mine",
  "dialects": [{"name": "b"}, {"name": "a", "replace": [["x.", "y."]]}],
  "flavors": {"8B": {"num_attention_heads": 32}},
  "rules": [
    {"native": "layers.{l}.wq.weight", "hf": "h.{l}.q",
     "hf_steps": [{"permute_heads": "num_attention_heads"},
                  {"reshape": ["num_attention_heads", "hidden_size/2", -1]},
                  {"transpose": [-2, -1]}, {"swap_halves": 0}],
     "cast": {"hf": "bfloat16"}},
    {"native": "layers.{l}.attention.wq.weight",
     "hf": ["h.{l}.a", "h.{l}.b"], "concat": 0,
     "sizes": ["hidden_size/2", -1]},
    {"native": "layers.{l}.moe.experts.w1", "hf": "h.{l}.{e}.w1", "stack": "e",
     "count": "num_attention_heads"},
    {"native": "output.weight", "hf": "head",
     "tie": {"to": "tok_embeddings.weight", "if": "tied"}},
    {"native": "norm.*", "drop": true}, {"hf": "s", "drop": "dequantized"},
    {"native": "{any}", "hf": "{any}"}]})";

std::vector<MappingSource> Sources() {
  return {{.name = "layers.0.wq.weight", .sizes = {64, 64}},
          {.name = "layers.0.attention.wq.weight", .sizes = {64, 64}},
          {.name = "layers.0.attention.wk.weight", .sizes = {32, 64}},
          {.name = "layers.0.moe.experts.w1", .sizes = {4, 32, 64}},
          {.name = "tok_embeddings.weight", .sizes = {128, 64}},
          {.name = "output.weight", .sizes = {128, 64}},
          {.name = "norm.weight", .sizes = {64}}};
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = {std::string(kConfig), std::string(kSmall)};
  for (const BuiltInMapping& mapping : BuiltInMappings()) {
    seeds.emplace_back(mapping.json);
  }
  return seeds;
}
std::vector<std::string> FuzzDictionary() {
  return {"\"native\":",
          "\"hf\":",
          "\"hf_steps\":",
          "\"native_steps\":",
          "\"permute_heads\":",
          "\"reshape\":",
          "\"transpose\":",
          "\"swap_halves\":",
          "\"concat\":",
          "\"sizes\":",
          "\"stack\":",
          "\"count\":",
          "\"tie\":",
          "\"drop\":",
          "{l}",
          "{e}{l}",
          "*",
          "hidden_size/2",
          "num_attention_heads*hidden_size",
          "/0",
          "-1",
          "[]",
          "{}",
          "null",
          "1.5",
          "\\u0000",
          "9223372036854775807",
          "18446744073709551615"};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::vector<dcp::MappingSource> sources = dcp::Sources();
  dcp::MappingOptions options;
  if (const auto numbers = dcp::ParseModelNumbers(input); numbers.ok()) {
    options.numbers = *numbers;
    static const auto llama = dcp::Mapping::BuiltIn("llama3");
    (void)llama->Plan(sources, options);
  }
  const auto mapping = dcp::Mapping::Parse(input);
  if (!mapping.ok()) return 0;
  static const auto numbers = dcp::ParseModelNumbers(dcp::kConfig);
  options.numbers = *numbers;
  (void)mapping->Plan(sources, options);
  options.direction = dcp::MappingDirection::kToNative;
  (void)mapping->Plan(sources, options);
  return 0;
}
