// What a rank has to say of the items that it saves into safetensors files.

#ifndef DCP_STORAGE_HUGGING_FACE_ITEMS_H_
#define DCP_STORAGE_HUGGING_FACE_ITEMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "format/safetensors_header.h"
#include "storage/shared_part.h"

namespace dcp {

/// \error kInvalidArgument  an object, or a tensor of a type that safetensors
///     lacks; names it
Status CheckHuggingFaceItem(const WriteItem& item);

/// `fqn`, a tensor of `dtype` and `sizes`, as a file's header has it; its place
/// is not known yet.
/// \error kInvalidArgument  safetensors has no such type or shape; names it
StatusOr<SafetensorsTensor> DescribeTensor(std::string_view fqn, DType dtype,
                                           const Dims& sizes);

/// The number of the file that `fqn` goes into, by HuggingFaceWriterOptions::
/// file_numbers.
/// \error kInvalidArgument  it has none, or one below 1
StatusOr<int64_t> FileNumberOf(
    const std::map<std::string, int64_t>& file_numbers, std::string_view fqn);

/// A rank's notes for the coordinator.
struct LocalNotes {
  std::string space;    ///< EncodeSpace
  std::string address;  ///< PeerListener::address; empty if it is alone
};

std::string SerializeNotes(const LocalNotes& notes);
/// \error kDataLoss  not what SerializeNotes wrote
StatusOr<LocalNotes> ParseNotes(std::string_view data, size_t rank);

/// One for each item of `plan`, rank `rank`'s; another name of a tensor has no
/// place of its own.
StatusOr<std::vector<WriteResult>> ResultsOf(const SavePlan& plan,
                                             const SharedPart& part, int rank);

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_ITEMS_H_
