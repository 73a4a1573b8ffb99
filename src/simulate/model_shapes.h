// The tensors of published models, and what parallelism is to do with each.

#ifndef DCP_SIMULATE_MODEL_SHAPES_H_
#define DCP_SIMULATE_MODEL_SHAPES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

enum class TensorRole : uint8_t {
  kParameter,
  kExperts,  ///< a parameter of all experts, who are its first dimension
  kBuffer,   ///< every rank has it whole, the optimizer has no state of it
};

struct ModelTensor {
  std::string fqn;  ///< as in TorchTitan 0.2
  Dims shape;
  TensorRole role = TensorRole::kParameter;
  /// What tensor parallelism shards; -1: nothing, its ranks have copies.
  int tp_dim = -1;
  /// Stages are runs of units: the embeddings, each layer, what follows them.
  int unit = 0;
};

struct ModelShape {
  std::vector<ModelTensor> tensors;  ///< by unit
  int units = 0;
  int64_t experts = 0;  ///< of a layer; 0: the model has none
};

/// \error kInvalidArgument  none of SimulatedModels(), which are named
StatusOr<ModelShape> ModelShapeOf(std::string_view model);

}  // namespace dcp

#endif  // DCP_SIMULATE_MODEL_SHAPES_H_
