#include "llama_shapes.h"

namespace dcp::benchmarks {

std::vector<Parameter> Llama70B() {
  constexpr int64_t kDim = 8192;
  constexpr int64_t kKeyValue = 1024;
  constexpr int64_t kFeedForward = 28672;
  constexpr int64_t kVocabulary = 128256;
  std::vector<Parameter> all = {{"tok_embeddings.weight", {kVocabulary, kDim}}};
  for (int layer = 0; layer < 80; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer) + ".";
    all.push_back({prefix + "attention.wq.weight", {kDim, kDim}});
    all.push_back({prefix + "attention.wk.weight", {kKeyValue, kDim}});
    all.push_back({prefix + "attention.wv.weight", {kKeyValue, kDim}});
    all.push_back({prefix + "attention.wo.weight", {kDim, kDim}});
    all.push_back({prefix + "feed_forward.w1.weight", {kFeedForward, kDim}});
    all.push_back({prefix + "feed_forward.w2.weight", {kDim, kFeedForward}});
    all.push_back({prefix + "feed_forward.w3.weight", {kFeedForward, kDim}});
    all.push_back({prefix + "attention_norm.weight", {kDim}});
    all.push_back({prefix + "ffn_norm.weight", {kDim}});
  }
  all.push_back({"norm.weight", {kDim}});
  all.push_back({"output.weight", {kVocabulary, kDim}});
  return all;
}

}  // namespace dcp::benchmarks
