// The verdict of a save that has published: its metadata, for every rank.

#ifndef DCP_CHECKPOINT_VERDICT_H_
#define DCP_CHECKPOINT_VERDICT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "dcp/status.h"

namespace dcp {

/// Metadata of fewer bytes travel as they are.
inline constexpr size_t kMinPackedNbytes = size_t{64} << 10;

/// `metadata_pickle`, which goes to as many ranks as there are, compressed.
std::string SerializeVerdict(std::string_view metadata_pickle);
/// \error kDataLoss  not what SerializeVerdict made
/// \error kResourceExhausted  there is no memory for it
StatusOr<std::string> ParseVerdict(std::string_view data);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_VERDICT_H_
