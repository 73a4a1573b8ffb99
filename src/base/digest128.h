// Digest128: 16 bytes that stand for a message.

#ifndef DCP_BASE_DIGEST128_H_
#define DCP_BASE_DIGEST128_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dcp {

struct Digest128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend auto operator<=>(const Digest128&, const Digest128&) = default;
};

/// The digest of `data`: the same in every process and on every machine, and
/// in later versions. Messages that differ have different digests, for all
/// practical purposes (2^64 of them until two are the same by chance). No
/// defence against somebody who makes them so: the key is known.
Digest128 DigestOf(std::string_view data);

/// 32 hexadecimal digits: the digest's bytes in order, for messages.
std::string ToString(const Digest128& digest);

}  // namespace dcp

#endif  // DCP_BASE_DIGEST128_H_
