// Chunks that do not make a tensor.

#ifndef DCP_PLAN_CHUNK_FAULTS_H_
#define DCP_PLAN_CHUNK_FAULTS_H_

#include <span>
#include <string>
#include <vector>

#include "dcp/plan.h"

namespace dcp {

struct ChunkFault {
  std::string fqn;
  Dims size;         ///< the tensor's
  std::string what;  ///< "has gaps: ...", to follow the tensor's name
};

/// What ValidateChunks reports, for every tensor that is bad.
std::vector<ChunkFault> FindChunkFaults(const Metadata& metadata,
                                        CoverageRule coverage);

/// The error of ValidateChunks, of `faults`, which are not empty.
Status InvalidChunks(std::span<const ChunkFault> faults);

}  // namespace dcp

#endif  // DCP_PLAN_CHUNK_FAULTS_H_
