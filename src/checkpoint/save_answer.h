// SaveAnswer: what a saver says of an order, as bytes.

#ifndef DCP_CHECKPOINT_SAVE_ANSWER_H_
#define DCP_CHECKPOINT_SAVE_ANSWER_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/checkpoint.h"
#include "dcp/trace.h"

namespace dcp {

/// What became of an order: the result as Save gave it, and what was done when.
struct SaveAnswer {
  StatusOr<SaveResult> result;
  std::vector<TraceSpan> spans;  ///< by the system's steady clock
};
std::string SerializeSaveAnswer(const StatusOr<SaveResult>& result,
                                std::span<const TraceSpan> spans);
/// \error kDataLoss  garbled
StatusOr<SaveAnswer> ParseSaveAnswer(std::string_view data);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_ANSWER_H_
