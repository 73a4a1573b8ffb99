// WriteOutcome as bytes, for the coordinator.

#ifndef DCP_CHECKPOINT_WRITE_OUTCOME_CODEC_H_
#define DCP_CHECKPOINT_WRITE_OUTCOME_CODEC_H_

#include <string>
#include <string_view>

#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

std::string SerializeWriteOutcome(const WriteOutcome& outcome);
StatusOr<WriteOutcome> ParseWriteOutcome(std::string_view data);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_WRITE_OUTCOME_CODEC_H_
