// A small model of TorchTitan's, and the same of Hugging Face's.

#ifndef DCP_TESTS_CHECKPOINT_LLAMA_CASES_H_
#define DCP_TESTS_CHECKPOINT_LLAMA_CASES_H_

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <utility>

#include "conformance/storage_conformance.h"
#include "dcp/mapping.h"

namespace dcp {

inline const std::string kLayer = "layers.0.attention.qkv_linear.";
inline const std::string kHfLayer = "model.layers.0.self_attn.";

inline ModelMapping Llama(MappingDirection direction, int64_t heads) {
  auto made = MakeModelMapping({.model = "llama3", .direction = direction});
  REQUIRE(made.ok());
  made->options.numbers = {{"num_attention_heads", heads},
                           {"num_key_value_heads", heads}};
  return *std::move(made);
}

/// Rows of `heads` heads, from pairs to halves, as TorchTitan does it.
inline conformance::StateTensor Permuted(const conformance::StateTensor& native,
                                         int64_t heads) {
  const int64_t rows = native.sizes[0];
  const int64_t half = rows / heads / 2;
  const auto row_nbytes = native.bytes.size() / static_cast<size_t>(rows);
  conformance::StateTensor hf = native;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t in_head = row % (2 * half);
    const int64_t to = row - in_head + in_head % 2 * half + in_head / 2;
    std::memcpy(hf.bytes.data() + static_cast<size_t>(to) * row_nbytes,
                native.bytes.data() + static_cast<size_t>(row) * row_nbytes,
                row_nbytes);
  }
  return hf;
}

inline conformance::State Native(int64_t rows, int64_t columns) {
  conformance::State state;
  state.tensors[kLayer + "wq.weight"] =
      conformance::RandomTensor(1, DType::kFloat32, {rows, columns});
  state.tensors[kLayer + "wv.weight"] =
      conformance::RandomTensor(2, DType::kFloat32, {6, 10});
  state.tensors["tok_embeddings.weight"] =
      conformance::RandomTensor(3, DType::kFloat32, {30, 10});
  state.tensors["lm_head.weight"] =
      conformance::RandomTensor(4, DType::kFloat32, {30, 10});
  return state;
}

inline conformance::State HuggingFace(const conformance::State& native,
                                      int64_t heads) {
  const auto& tensors = native.tensors;
  conformance::State state;
  state.tensors[kHfLayer + "q_proj.weight"] =
      Permuted(tensors.at(kLayer + "wq.weight"), heads);
  state.tensors[kHfLayer + "v_proj.weight"] = tensors.at(kLayer + "wv.weight");
  state.tensors["model.embed_tokens.weight"] =
      tensors.at("tok_embeddings.weight");
  state.tensors["lm_head.weight"] = tensors.at("lm_head.weight");
  return state;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_LLAMA_CASES_H_
