// The shapes of a real model, for benchmarks of planning.

#ifndef DCP_BENCHMARKS_LLAMA_SHAPES_H_
#define DCP_BENCHMARKS_LLAMA_SHAPES_H_

#include <string>
#include <vector>

#include "dcp/dims.h"

namespace dcp::benchmarks {

struct Parameter {
  std::string fqn;
  Dims shape;
};

/// The 723 parameters of Llama 3 70B, under TorchTitan's names.
std::vector<Parameter> Llama70B();

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_LLAMA_SHAPES_H_
