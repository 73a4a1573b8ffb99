// NcclHeader: what ranks tell each other of a call before its messages go.

#ifndef DCP_NCCL_NCCL_HEADER_H_
#define DCP_NCCL_NCCL_HEADER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "dcp/status.h"

namespace dcp {

/// What a rank calls; the numbers are the protocol's.
enum class NcclMethod : uint8_t {
  kMeet = 1,  ///< MakeNcclTransport
  kGather = 2,
  kScatter = 3,
  kBroadcast = 4,
  kAwaitAll = 5,
  kFailure = 6,  ///< the sender has given up; `nbytes` is its status code
  kLeave = 7,    ///< the sender's transport is being destroyed
};

/// "Gather", ...
std::string NameOf(NcclMethod method);

/// As bytes it is the same in all versions of the protocol, as ranks of
/// different ones must be able to tell.
struct NcclHeader {
  static constexpr size_t kNbytes = 32;

  NcclMethod method = NcclMethod::kMeet;
  uint64_t sequence = 0;  ///< of the call
  /// Of what follows, or for kAwaitAll of the phase.
  uint64_t nbytes = 0;
  uint32_t crc = 0;

  bool operator==(const NcclHeader&) const = default;
};

/// A header that describes `message`.
NcclHeader HeaderOf(NcclMethod method, uint64_t sequence,
                    std::string_view message);
/// kOk if `message` is what `header` describes.
/// \error kDataLoss  names `sender`
Status CheckMessage(const NcclHeader& header, std::string_view message,
                    int sender);

/// Writes kNbytes to `place`.
void WriteHeader(const NcclHeader& header, std::span<char> place);
/// \error kFailedPrecondition  it is none, or of another version; names
///     `sender`
/// \error kDataLoss  it was changed on the way, or names no method
StatusOr<NcclHeader> ReadHeader(std::string_view bytes, int sender);

/// Whether all ranks make the same call, by the headers of all of them. The
/// same on all ranks.
/// \error kAborted  a rank has left
/// \error kFailedPrecondition  ranks make different calls
/// The code of a rank that has given up.
Status CompareHeaders(std::span<const NcclHeader> headers);

}  // namespace dcp

#endif  // DCP_NCCL_NCCL_HEADER_H_
