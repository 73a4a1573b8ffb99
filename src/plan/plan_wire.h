// What the binary forms of plans have in common: keys, properties and paths.

#ifndef DCP_PLAN_PLAN_WIRE_H_
#define DCP_PLAN_PLAN_WIRE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/digest128.h"
#include "base/wire.h"
#include "dcp/dims.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// The versions of a message that this library reads and, the newest, writes.
struct WireVersions {
  uint8_t oldest = 1;
  uint8_t newest = 1;
  uint8_t oldest_reader = 1;  ///< that understands what this one writes
};

/// u8 version, u8 oldest version of a reader that understands it.
void PutVersion(const WireVersions& versions, WireWriter* out);
/// The version of the message that `in` begins, "a save plan" or another
/// `what`; if there is none `in` fails.
/// \error kFailedPrecondition  this library does not read it
StatusOr<uint8_t> GetVersion(std::string_view what,
                             const WireVersions& versions, WireReader* in);

using PlannerPaths = std::unordered_map<std::string, ObjectPath>;
using Ties = std::map<std::string, std::string>;

// Each Get reads what the Put of its name wrote; of anything malformed it fails
// `in` and returns some value.

// What items need not say.
/// The source of the item after one with `source`. Wraps around, because a
/// message may say anything.
int64_t SourceAfter(int64_t source);
/// The bytes of a chunk of `sizes` that is stored plainly, -1 if there is no
/// such number.
int64_t PlainNbytesOf(const Dims& sizes, int64_t itemsize);

/// Two u64, the low one first.
void PutDigest(const Digest128& digest, WireWriter* out);
Digest128 GetDigest(WireReader* in);

/// u8 bytes shared with the key before, string of the others. Sharing is
/// limited to 255 bytes, so that keys cannot expand beyond a fixed multiple of
/// their bytes; what bounds the rest of a plan is said in key_blocks.cc.
void PutKey(std::string_view key, std::string_view previous, WireWriter* out);
std::string GetKey(std::string_view previous, WireReader* in);

/// u8 dtype, u8 layout, u8 memory format and booleans.
void PutProperties(const TensorProperties& properties, WireWriter* out);
TensorProperties GetProperties(WireReader* in);

/// count, then by ascending key each:
///   key       as above
///   count of steps, then each: varint length * 2 + (1 if a list index)
///   u8 whether the steps joined by '.' are the key, if not: a string of all
void PutPaths(const PlannerPaths& paths, WireWriter* out);
PlannerPaths GetPaths(WireReader* in);
/// What follows `key`.
ObjectPath GetPath(std::string_view key, WireReader* in);

/// count, then each: two strings.
void PutTies(const Ties& ties, WireWriter* out);
Ties GetTies(WireReader* in);

}  // namespace dcp

#endif  // DCP_PLAN_PLAN_WIRE_H_
