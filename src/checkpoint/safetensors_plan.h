// What is particular to a conversion into safetensors files.

#ifndef DCP_CHECKPOINT_SAFETENSORS_PLAN_H_
#define DCP_CHECKPOINT_SAFETENSORS_PLAN_H_

#include "checkpoint/conversion_plan.h"
#include "dcp/hugging_face_storage.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// Makes `plan`, of the source with `index`, one for a writer with `options`:
/// - what safetensors cannot hold is refused, and so is a name in
///   options.file_numbers that is no tensor's;
/// - names that a source of safetensors has for one tensor are tied: it is read
///   and stored once;
/// - tensors are read in the order in which the writer lays them out. It would
///   work in any other, and keep more of them in memory.
///
/// \error kInvalidArgument  names the key
Status FitToSafetensors(const CheckpointIndex& index,
                        const HuggingFaceWriterOptions& options,
                        ConversionPlan* plan);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAFETENSORS_PLAN_H_
