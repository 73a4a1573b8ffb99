// Object items of `.distcp` files: archives of torch.save that hold a plain
// Python object.

#ifndef DCP_FORMAT_OBJECT_ITEM_H_
#define DCP_FORMAT_OBJECT_ITEM_H_

#include <span>
#include <string>
#include <string_view>

#include "dcp/object_value.h"
#include "dcp/status.h"

namespace dcp {

/// Containers nested deeper than this are neither written nor read.
inline constexpr int kMaxObjectDepth = 60;

/// The archive that torch.load(weights_only=True) reads to an equal value.
/// Equal values give equal bytes.
/// \error kInvalidArgument  a str or key that is not UTF-8, nesting beyond
///     kMaxObjectDepth, a dict with a key twice, a str or bytes of 1 GiB
StatusOr<std::string> EncodeObjectItem(const ObjectValue& value);

/// The archive of a pickle of protocol 2 and the data of its storages, which it
/// names "0", "1", ...
std::string EncodePickleItem(std::string_view pickle,
                             std::span<const std::string> storages);

/// Reads an archive of torch.save. Nothing in it is executed. An OrderedDict
/// becomes a dict, a torch.Size a tuple.
/// \error kUnimplemented  a value that ObjectValue cannot hold: an instance of
///     a class, a tensor, a key that is no str, an int beyond 64 bits. The
///     message says which; Python can load it.
/// \error kDataLoss  the item is damaged, or its values share so much that the
///     result would be far larger than the item
StatusOr<ObjectValue> DecodeObjectItem(std::string_view item);

}  // namespace dcp

#endif  // DCP_FORMAT_OBJECT_ITEM_H_
