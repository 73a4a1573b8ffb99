// A CheckpointIndex as bytes, for the other ranks.

#ifndef DCP_CHECKPOINT_INDEX_CODEC_H_
#define DCP_CHECKPOINT_INDEX_CODEC_H_

#include <string>
#include <string_view>

#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// \error  see SerializeMetadata
StatusOr<std::string> EncodeIndex(const CheckpointIndex& index);
/// \error kDataLoss  not what EncodeIndex wrote
StatusOr<CheckpointIndex> DecodeIndex(std::string_view message);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_INDEX_CODEC_H_
