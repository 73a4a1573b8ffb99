// What is told of a SharedLayout that was written: the index for users, and the
// metadata that a reader makes of the files.

#ifndef DCP_STORAGE_SHARED_DESCRIPTION_H_
#define DCP_STORAGE_SHARED_DESCRIPTION_H_

#include <span>
#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "storage/shared_layout.h"

namespace dcp {

/// The text of the index of files of whole tensors; `names` are theirs, in the
/// order of `layout`.
/// \error kInvalidArgument  a key that is not UTF-8
StatusOr<std::string> MakeIndex(const SharedLayout& layout,
                                std::span<const std::string> names,
                                std::string_view save_id);

/// The tensors of `layout`, and where they lie in the files `names`; without
/// storage_meta. `planned` is the global plan's metadata.
Metadata DescribeLayout(const SharedLayout& layout,
                        std::span<const std::string> names,
                        const Metadata& planned);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_DESCRIPTION_H_
