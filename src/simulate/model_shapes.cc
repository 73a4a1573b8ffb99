#include "simulate/model_shapes.h"

#include <array>
#include <utility>

#include "dcp/simulate.h"

namespace dcp {
namespace {

// What TorchTitan's parallelize.py has tensor parallelism do to a matrix.
constexpr int kCopies = -1;
constexpr int kRows = 0;     // ColwiseParallel, and RowwiseParallel embeddings
constexpr int kColumns = 1;  // RowwiseParallel

struct Llama {
  std::string_view name;
  int layers;
  int64_t dim;
  int64_t key_value;  // heads of keys times their size
  int64_t feed_forward;
  int64_t vocabulary;
};

// By the models' published config.json.
constexpr std::array<Llama, 2> kLlamas = {{
    {"llama3-70b", 80, 8192, 1024, 28672, 128256},
    {"llama3-405b", 126, 16384, 1024, 53248, 128256},
}};

// By config.json of DeepSeek-V3, without the layer that predicts a second
// token, which is not in TorchTitan 0.2.
constexpr std::string_view kDeepSeekName = "deepseek-v3";
constexpr int kDeepSeekLayers = 61;
constexpr int kDeepSeekDenseLayers = 3;
constexpr int64_t kDeepSeekDim = 7168;
constexpr int64_t kDeepSeekVocabulary = 129280;
constexpr int64_t kDeepSeekHeads = 128;
constexpr int64_t kDeepSeekQueryRank = 1536;
constexpr int64_t kDeepSeekKeyValueRank = 512;
constexpr int64_t kDeepSeekRopeSize = 64;     // qk_rope_head_dim
constexpr int64_t kDeepSeekNoRopeSize = 128;  // qk_nope_head_dim
constexpr int64_t kDeepSeekValueSize = 128;   // v_head_dim
constexpr int64_t kDeepSeekFeedForward = 18432;
constexpr int64_t kDeepSeekExpert = 2048;  // moe_intermediate_size
constexpr int64_t kDeepSeekExperts = 256;

/// Adds tensors to a shape, unit by unit.
class ShapeMaker {
 public:
  /// Tensors to come begin with `prefix` and are a unit of their own.
  void BeginUnit(std::string prefix) {
    prefix_ = std::move(prefix);
    ++shape_.units;
  }
  void Add(std::string_view name, Dims shape, int tp_dim = kCopies) {
    AddTensor({.fqn = prefix_ + std::string(name),
               .shape = std::move(shape),
               .tp_dim = tp_dim});
  }
  void AddExperts(std::string_view name, Dims shape, int tp_dim) {
    shape_.experts = shape[0];
    AddTensor({.fqn = prefix_ + std::string(name),
               .shape = std::move(shape),
               .role = TensorRole::kExperts,
               .tp_dim = tp_dim});
  }
  void AddBuffer(std::string_view name, Dims shape) {
    AddTensor({.fqn = prefix_ + std::string(name),
               .shape = std::move(shape),
               .role = TensorRole::kBuffer});
  }
  /// Of SwiGLU.
  void AddFeedForward(const std::string& name, int64_t dim, int64_t width) {
    Add(name + ".w1.weight", {width, dim}, kRows);
    Add(name + ".w2.weight", {dim, width}, kColumns);
    Add(name + ".w3.weight", {width, dim}, kRows);
  }
  ModelShape Take() && { return std::move(shape_); }

 private:
  void AddTensor(ModelTensor tensor) {
    tensor.unit = shape_.units - 1;
    shape_.tensors.push_back(std::move(tensor));
  }

  ModelShape shape_;
  std::string prefix_;
};

std::string LayerPrefix(int layer) {
  return "layers." + std::to_string(layer) + ".";
}

ModelShape ShapeOf(const Llama& model) {
  const int64_t dim = model.dim;
  ShapeMaker maker;
  maker.BeginUnit("");
  maker.Add("tok_embeddings.weight", {model.vocabulary, dim}, kRows);
  for (int layer = 0; layer < model.layers; ++layer) {
    maker.BeginUnit(LayerPrefix(layer));
    maker.Add("attention.wq.weight", {dim, dim}, kRows);
    maker.Add("attention.wk.weight", {model.key_value, dim}, kRows);
    maker.Add("attention.wv.weight", {model.key_value, dim}, kRows);
    maker.Add("attention.wo.weight", {dim, dim}, kColumns);
    maker.AddFeedForward("feed_forward", dim, model.feed_forward);
    maker.Add("attention_norm.weight", {dim});
    maker.Add("ffn_norm.weight", {dim});
  }
  maker.BeginUnit("");
  maker.Add("norm.weight", {dim});
  maker.Add("output.weight", {model.vocabulary, dim}, kRows);
  return std::move(maker).Take();
}

/// Multi-head latent attention.
void AddDeepSeekAttention(ShapeMaker* maker) {
  constexpr int64_t kQueries =
      kDeepSeekHeads * (kDeepSeekNoRopeSize + kDeepSeekRopeSize);
  constexpr int64_t kKeyValues =
      kDeepSeekHeads * (kDeepSeekNoRopeSize + kDeepSeekValueSize);
  maker->Add("attention.wq_a.weight", {kDeepSeekQueryRank, kDeepSeekDim});
  maker->Add("attention.q_norm.weight", {kDeepSeekQueryRank});
  maker->Add("attention.wq_b.weight", {kQueries, kDeepSeekQueryRank}, kRows);
  maker->Add("attention.wkv_a.weight",
             {kDeepSeekKeyValueRank + kDeepSeekRopeSize, kDeepSeekDim});
  maker->Add("attention.kv_norm.weight", {kDeepSeekKeyValueRank});
  maker->Add("attention.wkv_b.weight", {kKeyValues, kDeepSeekKeyValueRank},
             kRows);
  maker->Add("attention.wo.weight",
             {kDeepSeekDim, kDeepSeekHeads * kDeepSeekValueSize}, kColumns);
  maker->Add("attention_norm.weight", {kDeepSeekDim});
  maker->Add("ffn_norm.weight", {kDeepSeekDim});
}

void AddDeepSeekExperts(ShapeMaker* maker) {
  const Dims up = {kDeepSeekExperts, kDeepSeekExpert, kDeepSeekDim};
  const Dims down = {kDeepSeekExperts, kDeepSeekDim, kDeepSeekExpert};
  maker->AddExperts("moe.experts.w1", up, 1);
  maker->AddExperts("moe.experts.w2", down, 2);
  maker->AddExperts("moe.experts.w3", up, 1);
  maker->Add("moe.router.gate.weight", {kDeepSeekExperts, kDeepSeekDim});
  maker->AddFeedForward("moe.shared_experts", kDeepSeekDim, kDeepSeekExpert);
  maker->AddBuffer("moe.expert_bias", {kDeepSeekExperts});
}

ModelShape DeepSeekShape() {
  ShapeMaker maker;
  maker.BeginUnit("");
  maker.Add("tok_embeddings.weight", {kDeepSeekVocabulary, kDeepSeekDim},
            kRows);
  for (int layer = 0; layer < kDeepSeekLayers; ++layer) {
    maker.BeginUnit(LayerPrefix(layer));
    AddDeepSeekAttention(&maker);
    if (layer < kDeepSeekDenseLayers) {
      maker.AddFeedForward("feed_forward", kDeepSeekDim, kDeepSeekFeedForward);
    } else {
      AddDeepSeekExperts(&maker);
    }
  }
  maker.BeginUnit("");
  maker.Add("norm.weight", {kDeepSeekDim});
  maker.Add("output.weight", {kDeepSeekVocabulary, kDeepSeekDim}, kRows);
  return std::move(maker).Take();
}

}  // namespace

std::vector<std::string_view> SimulatedModels() {
  std::vector<std::string_view> names;
  names.reserve(kLlamas.size() + 1);
  for (const Llama& model : kLlamas) names.push_back(model.name);
  names.push_back(kDeepSeekName);
  return names;
}

StatusOr<std::vector<SimulatedTensor>> SimulatedTensors(
    std::string_view model) {
  DCP_ASSIGN_OR_RETURN(ModelShape shape, ModelShapeOf(model));
  std::vector<SimulatedTensor> tensors;
  tensors.reserve(shape.tensors.size());
  for (ModelTensor& tensor : shape.tensors) {
    tensors.push_back(
        {.fqn = std::move(tensor.fqn), .shape = std::move(tensor.shape)});
  }
  return tensors;
}

StatusOr<ModelShape> ModelShapeOf(std::string_view model) {
  for (const Llama& llama : kLlamas) {
    if (llama.name == model) return ShapeOf(llama);
  }
  if (model == kDeepSeekName) return DeepSeekShape();
  std::string known;
  for (const std::string_view name : SimulatedModels()) {
    known += known.empty() ? "" : ", ";
    known += name;
  }
  return InvalidArgument("no model \"" + std::string(model) + "\"; there are " +
                         known);
}

}  // namespace dcp
