// Hash128: names bytes by what they are.

#ifndef DCP_BASE_HASH128_H_
#define DCP_BASE_HASH128_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dcp {

/// A hash of 128 bits: of bytes that nobody chose to collide, equal hashes mean
/// equal bytes.
struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
};

/// For unordered containers.
struct Hash128Hash {
  size_t operator()(const Hash128& hash) const { return hash.low; }
};

/// MurmurHash3_x64_128 with the seed 0: the same on every machine, some 5 GB/s.
Hash128 HashOf(std::string_view data);

}  // namespace dcp

#endif  // DCP_BASE_HASH128_H_
