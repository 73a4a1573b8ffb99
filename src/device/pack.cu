// Gathers pieces of device memory into one: block i copies piece i. The table
// of pieces may lie in pinned host memory. Built by nvcc, loaded by
// cuda_packer.cc.

#include "device/pack_piece.h"

namespace {

template <typename Word>
__device__ void CopyWords(const unsigned char* from, unsigned char* to,
                          uint64_t nbytes) {
  const uint64_t count = nbytes / sizeof(Word);
  for (uint64_t i = threadIdx.x; i < count; i += blockDim.x) {
    reinterpret_cast<Word*>(to)[i] = reinterpret_cast<const Word*>(from)[i];
  }
  for (uint64_t i = count * sizeof(Word) + threadIdx.x; i < nbytes;
       i += blockDim.x) {
    to[i] = from[i];
  }
}

}  // namespace

extern "C" __global__ void dcp_pack(const dcp::PackPiece* pieces,
                                    unsigned char* packed) {
  const dcp::PackPiece piece = pieces[blockIdx.x];
  const auto* from = reinterpret_cast<const unsigned char*>(piece.from);
  unsigned char* to = packed + piece.to;
  const uint64_t both = piece.from | reinterpret_cast<uint64_t>(to);
  if (both % sizeof(uint4) == 0) {
    CopyWords<uint4>(from, to, piece.nbytes);
  } else if (both % sizeof(uint32_t) == 0) {
    CopyWords<uint32_t>(from, to, piece.nbytes);
  } else {
    CopyWords<unsigned char>(from, to, piece.nbytes);
  }
}
