// What a rank has to say of the items that it saves into safetensors files.

#ifndef DCP_STORAGE_HUGGING_FACE_ITEMS_H_
#define DCP_STORAGE_HUGGING_FACE_ITEMS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "storage/shared_part.h"

namespace dcp {

/// \error kInvalidArgument  an object, or a tensor of a type that safetensors
///     lacks; names it
Status CheckHuggingFaceItem(const WriteItem& item);

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
