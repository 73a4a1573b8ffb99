// The built-in mappings, at tiny sizes, beside what TorchTitan's adapters do.

#include "mapping/builtin_mappings.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "mapping/mapping_cases.h"

namespace dcp {
namespace {

using Tensors = std::vector<std::pair<std::string, Dims>>;

Mapping BuiltIn(std::string_view model) {
  const auto mapping = Mapping::BuiltIn(model);
  CAPTURE(model, Message(mapping.status()));
  REQUIRE(mapping.ok());
  return *mapping;
}

/// The names that `mapping` makes, in their order, when all came back.
std::vector<std::string> NamesThereAndBack(std::string_view model,
                                           const CellsOf& native,
                                           const ModelNumbers& numbers) {
  const Mapping mapping = BuiltIn(model);
  const auto hf = Apply(mapping, native, {.numbers = numbers});
  CAPTURE(model, Message(hf.status()));
  REQUIRE(hf.ok());
  CheckMaps(mapping, *hf, native,
            {.direction = MappingDirection::kToNative, .numbers = numbers});
  std::vector<std::string> names;
  for (const auto& [name, cells] : *hf) names.push_back(name);
  return names;
}

/// Attention and norms of a layer of llama3 and qwen3.
Tensors Layer(const std::string& layer) {
  const std::string qkv = layer + "attention.qkv_linear.";
  return {{qkv + "wq.weight", {8, 6}},
          {qkv + "wk.weight", {4, 6}},
          {qkv + "wv.weight", {4, 6}},
          {layer + "attention.wo.weight", {6, 8}},
          {layer + "attention_norm.weight", {6}},
          {layer + "ffn_norm.weight", {6}}};
}

Tensors Dense(const std::string& layer) {
  return {{layer + "feed_forward.w1.weight", {10, 6}},
          {layer + "feed_forward.w2.weight", {6, 10}},
          {layer + "feed_forward.w3.weight", {10, 6}}};
}

Tensors Experts(const std::string& layer) {
  const std::string experts = layer + "moe.routed_experts.inner_experts.";
  return {{experts + "w1_EFD", {3, 4, 6}},
          {experts + "w2_EDF", {3, 6, 4}},
          {experts + "w3_EFD", {3, 4, 6}},
          {layer + "moe.router.gate.weight", {3, 6}}};
}

Tensors Joined(const std::vector<Tensors>& lists) {
  Tensors all;
  for (const Tensors& list : lists) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

const Tensors kEnds{{"tok_embeddings.weight", {16, 6}},
                    {"norm.weight", {6}},
                    {"lm_head.weight", {16, 6}}};
const ModelNumbers kHeads{{"num_attention_heads", 2},
                          {"num_key_value_heads", 1}};

TEST_CASE("llama3 is what TorchTitan's adapter makes of it", "[mapping]") {
  const CellsOf native =
      NumberedAll(Joined({kEnds, Layer("layers.0."), Dense("layers.0.")}));
  const auto of = [&](const std::string& name) { return native.at(name); };
  const std::string l = "layers.0.";
  const std::string h = "model.layers.0.";
  const CellsOf hf{
      {"model.embed_tokens.weight", of("tok_embeddings.weight")},
      {"model.norm.weight", of("norm.weight")},
      {"lm_head.weight", of("lm_head.weight")},
      {h + "self_attn.q_proj.weight",
       Rows(of(l + "attention.qkv_linear.wq.weight"),
            {0, 2, 1, 3, 4, 6, 5, 7})},
      {h + "self_attn.k_proj.weight",
       Rows(of(l + "attention.qkv_linear.wk.weight"), {0, 2, 1, 3})},
      {h + "self_attn.v_proj.weight", of(l + "attention.qkv_linear.wv.weight")},
      {h + "self_attn.o_proj.weight", of(l + "attention.wo.weight")},
      {h + "mlp.gate_proj.weight", of(l + "feed_forward.w1.weight")},
      {h + "mlp.up_proj.weight", of(l + "feed_forward.w3.weight")},
      {h + "mlp.down_proj.weight", of(l + "feed_forward.w2.weight")},
      {h + "input_layernorm.weight", of(l + "attention_norm.weight")},
      {h + "post_attention_layernorm.weight", of(l + "ffn_norm.weight")}};
  CheckBothWays(BuiltIn("llama3"), native, hf, kHeads);
}

TEST_CASE("llama3 of TorchTitan 0.2, with its optimizer, is known",
          "[mapping]") {
  const CellsOf native =
      NumberedAll({{"output.weight", {16, 6}},
                   {"layers.0.attention.wq.weight", {8, 6}},
                   {"optimizer.state.output.weight.exp_avg", {16, 6}},
                   {"train_state.step", {}}});
  const auto hf = Apply(BuiltIn("llama3"), native, {.numbers = kHeads});
  REQUIRE(hf.ok());
  CHECK(hf->size() == 2);
  CHECK(hf->at("lm_head.weight") == native.at("output.weight"));
  CHECK(hf->contains("model.layers.0.self_attn.q_proj.weight"));
}

TEST_CASE("a model whose heads nobody told is not converted", "[mapping]") {
  const Tensors native{{"layers.0.attention.qkv_linear.wk.weight", {8, 6}}};
  CHECK_THAT(WhyNot(BuiltIn("llama3"), native),
             Catch::Matchers::Contains("num_key_value_heads"));
}

TEST_CASE("qwen3 keeps its rows and unstacks its experts", "[mapping]") {
  const std::string l = "layers.1.";
  const CellsOf native =
      NumberedAll(Joined({kEnds,
                          Layer("layers.0."),
                          Dense("layers.0."),
                          Layer(l),
                          Experts(l),
                          {{l + "attention.q_norm.weight", {4}},
                           {l + "attention.k_norm.weight", {4}}}}));
  const auto names = NamesThereAndBack("qwen3", native, {{"num_experts", 3}});
  CHECK(names.size() == native.size() + 6);
  const auto hf = Apply(BuiltIn("qwen3"), native, {});
  REQUIRE(hf.ok());
  CHECK(hf->at("model.layers.1.self_attn.q_proj.weight") ==
        native.at(l + "attention.qkv_linear.wq.weight"));
  const Cells& w2 = native.at(l + "moe.routed_experts.inner_experts.w2_EDF");
  CHECK(hf->at("model.layers.1.mlp.experts.2.down_proj.weight") ==
        Numbered({6, 4}, w2.values[48]));
}

TEST_CASE("deepseek_v3 goes there and back, with layers for more tokens",
          "[mapping]") {
  Tensors native = kEnds;
  const std::vector<std::string> layers{"layers.0.", "layers.1.",
                                        "mtp_layers.0."};
  for (const std::string& layer : layers) {
    for (const char* name : {"wkv_a", "wkv_b", "wo", "wq_a", "wq_b"}) {
      native.push_back({layer + "attention." + name + ".weight", {4, 6}});
    }
    for (const char* name : {"attention.kv_norm", "attention.q_norm",
                             "attention_norm", "ffn_norm"}) {
      native.push_back({layer + name + ".weight", {6}});
    }
    const bool is_dense = layer == "layers.0.";
    const Tensors mlp = is_dense ? Dense(layer) : Experts(layer);
    native.insert(native.end(), mlp.begin(), mlp.end());
    if (is_dense) continue;
    native.push_back({layer + "moe.expert_bias_E", {3}});
    for (const char* name : {"w1", "w2", "w3"}) {
      native.push_back(
          {layer + "moe.shared_experts." + name + ".weight", {4, 6}});
    }
  }
  for (const char* name : {"enorm", "hnorm", "eh_proj", "mtp_norm"}) {
    native.push_back(
        {"mtp_layers.0." + std::string(name) + ".weight", {6, 12}});
  }
  const auto names =
      NamesThereAndBack("deepseek_v3", NumberedAll(native),
                        {{"num_hidden_layers", 2}, {"n_routed_experts", 3}});
  const auto has = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  CHECK(has("model.layers.2.shared_head.norm.weight"));
  CHECK(has("model.layers.2.mlp.experts.1.up_proj.weight"));
  CHECK(has("model.layers.1.mlp.gate.e_score_correction_bias"));
  CHECK(BuiltIn("deepseek_v3").dequantizes());
}

TEST_CASE("deepseek_v3 leaves out what its published files have twice",
          "[mapping]") {
  CheckMaps(BuiltIn("deepseek_v3"),
            NumberedAll({{"model.embed_tokens.weight", {4, 2}},
                         {"lm_head.weight", {4, 2}},
                         {"model.layers.2.embed_tokens.weight", {4, 2}},
                         {"model.layers.2.shared_head.head.weight", {4, 2}}}),
            {{"tok_embeddings.weight", Numbered({4, 2})},
             {"lm_head.weight", Numbered({4, 2}, 8)}},
            {.direction = MappingDirection::kToNative,
             .numbers = {{"num_hidden_layers", 2}}});
}

TEST_CASE("gpt_oss keeps all of its experts", "[mapping]") {
  const std::string l = "layers.0.";
  const std::string experts = l + "moe.routed_experts.inner_experts.";
  const CellsOf native =
      NumberedAll(Joined({kEnds,
                          Layer(l),
                          {{l + "attention.qkv_linear.wq.bias", {8}},
                           {l + "attention.sinks", {2}},
                           {experts + "mlp1_weight_EGD", {2, 8, 6}},
                           {experts + "mlp1_bias_EG", {2, 8}},
                           {experts + "mlp2_weight_EDF", {2, 6, 4}},
                           {experts + "mlp2_bias_ED", {2, 6}},
                           {l + "moe.router.gate.bias", {2}}}}));
  const auto names = NamesThereAndBack("gpt_oss", native, {});
  CHECK(names.size() == native.size());
  // What was packed is read as it is, since reading unpacks it.
  CheckMaps(
      BuiltIn("gpt_oss"),
      NumberedAll({{"model.layers.0.mlp.experts.down_proj_blocks", {2, 6, 4}},
                   {"model.layers.0.mlp.experts.down_proj_scales", {1}}}),
      {{experts + "mlp2_weight_EDF", Numbered({2, 6, 4})}},
      {.direction = MappingDirection::kToNative, .is_dequantized = true});
}

TEST_CASE("flux divides what it has fused and exchanges scale and shift",
          "[mapping]") {
  const CellsOf native =
      NumberedAll({{"single_blocks.0.linear1.weight", {14, 2}},
                   {"single_blocks.0.linear1.bias", {14}},
                   {"double_blocks.3.img_attn.qkv.weight", {6, 2}},
                   {"double_blocks.3.txt_attn.qkv.bias", {6}},
                   {"double_blocks.3.img_mlp.0.weight", {8, 2}},
                   {"final_layer.adaLN_modulation.1.weight", {4, 2}},
                   {"final_layer.adaLN_modulation.1.bias", {4}},
                   {"img_in.weight", {2, 3}}});
  const ModelNumbers numbers{{"num_attention_heads", 1},
                             {"attention_head_dim", 2}};
  CHECK(NamesThereAndBack("flux", native, numbers).size() == 4 + 4 + 3 + 3 + 4);
  const auto hf = Apply(BuiltIn("flux"), native, {.numbers = numbers});
  REQUIRE(hf.ok());
  const Cells& linear1 = native.at("single_blocks.0.linear1.weight");
  CHECK(hf->at("single_transformer_blocks.0.proj_mlp.weight") ==
        Rows(linear1, {6, 7, 8, 9, 10, 11, 12, 13}));
  CHECK(hf->at("norm_out.linear.weight") ==
        Rows(native.at("final_layer.adaLN_modulation.1.weight"), {2, 3, 0, 1}));
  CHECK(hf->contains("transformer_blocks.3.ff.net.0.proj.weight"));
}

TEST_CASE("llama4 turns its experts", "[mapping]") {
  const std::string l = "layers.0.";
  const CellsOf native = NumberedAll({{"output.weight", {16, 6}},
                                      {l + "attention.wq.weight", {8, 6}},
                                      {l + "moe.experts.w1", {2, 3, 4}},
                                      {l + "moe.experts.w2", {2, 4, 3}},
                                      {l + "moe.experts.w3", {2, 3, 4}}});
  const auto names = NamesThereAndBack("llama4", native, {});
  CHECK(names.size() == 4);
  const auto hf = Apply(BuiltIn("llama4"), native, {});
  REQUIRE(hf.ok());
  const std::string h = "language_model.model.layers.0.feed_forward.experts.";
  CHECK(hf->at(h + "gate_up_proj").sizes == Dims{2, 4, 6});
  CHECK(hf->at(h + "down_proj").sizes == Dims{2, 3, 4});
  // TorchTitan trains no eyes.
  CheckMaps(BuiltIn("llama4"),
            NumberedAll({{"language_model.lm_head.weight", {2, 2}},
                         {"multi_modal_projector.linear_1.weight", {2, 2}},
                         {"vision_model.class_embedding", {2}}}),
            {{"output.weight", Numbered({2, 2})}},
            {.direction = MappingDirection::kToNative});
  CHECK(BuiltIn("llama4").NumbersOfFlavor("17bx16e").ok());
}

TEST_CASE("every built-in mapping is one, in every dialect", "[mapping]") {
  CHECK(Mapping::BuiltInModels() ==
        std::vector<std::string>{"deepseek_v3", "flux", "gpt_oss", "llama3",
                                 "llama4", "qwen3"});
  const std::vector<MappingSource> none;
  for (const BuiltInMapping& mapping : BuiltInMappings()) {
    CAPTURE(mapping.model);
    CHECK(BuiltIn(mapping.model).Plan(none, {}).ok());
  }
}

}  // namespace
}  // namespace dcp
