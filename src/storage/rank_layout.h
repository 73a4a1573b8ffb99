// The layout of a save in which every rank writes safetensors files of its own,
// as torch's HuggingFaceStorageWriter does with save_distributed. Pure.

#ifndef DCP_STORAGE_RANK_LAYOUT_H_
#define DCP_STORAGE_RANK_LAYOUT_H_

#include <cstdint>
#include <map>
#include <string>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "storage/shared_layout.h"

namespace dcp {

/// Each rank's items lie in its own files: one, or, with `file_numbers` (tensor
/// -> number of the file, from 1), one of each number. They have torch's names
/// (RankShardName), of which the highest number is that of all ranks, and say
/// in their headers where the parts belong (safetensors_sharding.h). Ranks
/// without items have no file; an empty plan is one file of rank 0's.
///
/// Tied tensors are stored under each of their names. A file has a name once:
/// where a rank has several chunks of a tensor, the second goes into a file of
/// a number beyond the others, and so on, which torch's readers take as well.
/// \error kInvalidArgument  chunks that do not cover their tensor; a tensor
///     without a file in `file_numbers`, or one that safetensors has no type
///     for
StatusOr<SharedLayout> LayOutRankFiles(
    const GlobalPlan& plan, const std::map<std::string, int64_t>& file_numbers);

}  // namespace dcp

#endif  // DCP_STORAGE_RANK_LAYOUT_H_
