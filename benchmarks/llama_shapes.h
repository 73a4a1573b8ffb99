// The shapes of a real model, for benchmarks of planning.

#ifndef DCP_BENCHMARKS_LLAMA_SHAPES_H_
#define DCP_BENCHMARKS_LLAMA_SHAPES_H_

#include <vector>

#include "dcp/simulate.h"

namespace dcp::benchmarks {

using Parameter = SimulatedTensor;

/// The 723 parameters of Llama 3 70B, under TorchTitan's names.
inline std::vector<Parameter> Llama70B() {
  return SimulatedTensors("llama3-70b").value();
}

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_LLAMA_SHAPES_H_
