// write_hugging_face MODEL [RANKS]
//
// Writes a small Llama as Hugging Face checkpoints are: MODEL/config.json,
// model-00001-of-0000N.safetensors and their index. RANKS ranks hold a share of
// the rows of every matrix and save in the background, straight into the final
// files; then one more rank than before loads the model and compares.
//
//   model = transformers.AutoModelForCausalLM.from_pretrained("MODEL")
//
//   2 ranks wrote 21 tensors to /tmp/llama
//   3 ranks read the same weights

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dcp/async_save.h"
#include "dcp/hugging_face_storage.h"
#include "ranks.h"

namespace {

constexpr int64_t kLayers = 2;
constexpr int64_t kHidden = 32;
constexpr int64_t kHeads = 4;
constexpr int64_t kKeyValueHeads = 2;
constexpr int64_t kFeedForward = 48;
constexpr int64_t kVocabulary = 101;
// Small, so that there are several files; the usual limit is 5 GB.
constexpr int64_t kMaxShardNbytes = 30'000;

/// Names and shapes as transformers has them.
std::map<std::string, dcp::Dims> Shapes() {
  constexpr int64_t kKeyValue = kHidden / kHeads * kKeyValueHeads;
  std::map<std::string, dcp::Dims> shapes = {
      {"model.embed_tokens.weight", {kVocabulary, kHidden}},
      {"model.norm.weight", {kHidden}},
      {"lm_head.weight", {kVocabulary, kHidden}}};
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    shapes[prefix + "input_layernorm.weight"] = {kHidden};
    shapes[prefix + "post_attention_layernorm.weight"] = {kHidden};
    shapes[prefix + "self_attn.q_proj.weight"] = {kHidden, kHidden};
    shapes[prefix + "self_attn.k_proj.weight"] = {kKeyValue, kHidden};
    shapes[prefix + "self_attn.v_proj.weight"] = {kKeyValue, kHidden};
    shapes[prefix + "self_attn.o_proj.weight"] = {kHidden, kHidden};
    shapes[prefix + "mlp.gate_proj.weight"] = {kFeedForward, kHidden};
    shapes[prefix + "mlp.up_proj.weight"] = {kFeedForward, kHidden};
    shapes[prefix + "mlp.down_proj.weight"] = {kHidden, kFeedForward};
  }
  return shapes;
}

/// The rows of a tensor that one rank holds.
struct Shard {
  dcp::Dims global_size;
  dcp::Dims offsets;
  dcp::Dims sizes;
  std::vector<float> values;

  dcp::TensorView view() {
    return dcp::ContiguousView(values.data(), dcp::DType::kFloat32, sizes);
  }
};
using Model = std::map<std::string, Shard>;

Model MakeShards(int rank, int world_size) {
  Model model;
  for (const auto& [fqn, shape] : Shapes()) {
    Shard& shard = model[fqn];
    shard.global_size = shape;
    shard.offsets = dcp::Dims::Filled(shape.size(), 0);
    shard.sizes = shape;
    shard.offsets[0] = shape[0] * rank / world_size;
    shard.sizes[0] = shape[0] * (rank + 1) / world_size - shard.offsets[0];
    shard.values.resize(static_cast<size_t>(dcp::Numel(shard.sizes)));
  }
  return model;
}

/// What a trainer would have learnt; here a wave that differs by tensor.
void Fill(Model& model) {
  for (auto& [fqn, shard] : model) {
    const auto phase = static_cast<double>(fqn.size());
    const int64_t columns = shard.sizes.size() > 1 ? shard.sizes[1] : 1;
    int64_t at = shard.offsets[0] * columns;
    for (float& value : shard.values) {
      const double angle = phase + 12.9898 * static_cast<double>(at++);
      value = static_cast<float>(0.1 * std::sin(angle));
    }
  }
}

/// One rank's part of a save while it trains on.
dcp::Status SaveRank(const std::string& path, dcp::Transport& transport) {
  auto model = std::make_shared<Model>(
      MakeShards(transport.rank(), transport.world_size()));
  Fill(*model);
  std::vector<dcp::SaveEntry> entries;
  for (auto& [fqn, shard] : *model) {
    entries.push_back(
        dcp::ShardEntry(fqn, shard.view(), shard.global_size, shard.offsets));
  }
  const auto save =
      dcp::AsyncSave(std::move(entries), model,
                     {.writer = dcp::MakeHuggingFaceWriter(
                          {.path = path, .max_shard_nbytes = kMaxShardNbytes}),
                      // Not owned: this function waits for the save.
                      .transport = {std::shared_ptr<void>(), &transport}});
  DCP_RETURN_IF_ERROR(save->WaitStaged());
  // The next step may change the weights from here on.
  for (auto& [fqn, shard] : *model) shard.values.assign(shard.values.size(), 0);
  return save->Wait().status();
}

class ModelRequest : public dcp::LoadRequest {
 public:
  explicit ModelRequest(Model& model) : model_(model) {}

  dcp::StatusOr<std::vector<dcp::LoadEntry>> MakeEntries(
      const dcp::Metadata&) override {
    std::vector<dcp::LoadEntry> entries;
    for (auto& [fqn, shard] : model_) {
      entries.push_back(
          dcp::ShardLoad(fqn, shard.view(), shard.global_size, shard.offsets));
    }
    return entries;
  }

 private:
  Model& model_;
};

dcp::Status LoadRank(const std::string& path, dcp::Transport& transport) {
  Model model = MakeShards(transport.rank(), transport.world_size());
  Model expected = model;
  Fill(expected);
  ModelRequest request(model);
  // It would read the native format as well.
  const auto reader = dcp::MakeReaderByContent({.path = path});
  DCP_RETURN_IF_ERROR(dcp::Load(request, *reader, transport, {}).status());
  for (const auto& [fqn, shard] : model) {
    if (shard.values != expected[fqn].values) {
      return dcp::DataLoss(fqn + " is not what was saved");
    }
  }
  return {};
}

/// What transformers must know beside the weights.
dcp::Status WriteConfig(const std::string& path) {
  std::ofstream file(path + "/config.json");
  file << "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n"
       << "  \"model_type\": \"llama\",\n"
       << "  \"hidden_size\": " << kHidden << ",\n"
       << "  \"intermediate_size\": " << kFeedForward << ",\n"
       << "  \"num_hidden_layers\": " << kLayers << ",\n"
       << "  \"num_attention_heads\": " << kHeads << ",\n"
       << "  \"num_key_value_heads\": " << kKeyValueHeads << ",\n"
       << "  \"vocab_size\": " << kVocabulary << ",\n"
       << "  \"tie_word_embeddings\": false\n}\n";
  file.close();
  return file ? dcp::Status()
              : dcp::NotFound(path + "/config.json cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 2;
  if (argc < 2 || world_size < 1) {
    std::fprintf(stderr, "usage: write_hugging_face MODEL [RANKS]\n");
    return 2;
  }
  const std::string path = argv[1];
  dcp::Status status = examples::RunRanks(
      world_size,
      [&](dcp::Transport& transport) { return SaveRank(path, transport); });
  if (status.ok()) status = WriteConfig(path);
  if (status.ok()) {
    std::printf("%d ranks wrote %zu tensors to %s\n", world_size,
                Shapes().size(), path.c_str());
    status = examples::RunRanks(world_size + 1, [&](dcp::Transport& transport) {
      return LoadRank(path, transport);
    });
  }
  if (status.ok()) {
    std::printf("%d ranks read the same weights\n", world_size + 1);
    return 0;
  }
  std::fprintf(stderr, "write_hugging_face: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
