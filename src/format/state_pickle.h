// data.pkl of a whole state dict: what torch.save makes of nested dicts.

#ifndef DCP_FORMAT_STATE_PICKLE_H_
#define DCP_FORMAT_STATE_PICKLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/status.h"
#include "format/nested_state.h"
#include "format/torch_item.h"

namespace dcp {

/// A value of a state dict.
struct StateLeaf {
  std::string_view fqn;  ///< for messages
  /// A contiguous tensor, or the archive that torch.save makes of an object.
  std::variant<TensorItemSpec, std::string_view> value;
};

/// One data record of the archive; its name is its number.
struct StateRecord {
  size_t leaf = 0;
  /// Set for tensors that an object holds: their bytes, within the object.
  std::optional<std::string_view> bytes;
  int64_t nbytes = 0;
};

struct StatePickle {
  std::string pickle;
  /// In the order in which the pickle names them.
  std::vector<StateRecord> records;
};

/// Pickles `state`, whose leaves are numbers of `leaves`, as torch.save does:
/// protocol 2, tensors without gradient, each with a storage of its own.
///
/// Objects are copied as they are, classes by their names; whether a loader
/// accepts these is its matter. torch.load(weights_only=True) does if it
/// accepts the objects by themselves. \error kUnimplemented  an object that
/// only Python can copy; names the key \error kDataLoss  a damaged object;
/// names the key
StatusOr<StatePickle> RenderStatePickle(const NestedState& state,
                                        std::span<const StateLeaf> leaves);

}  // namespace dcp

#endif  // DCP_FORMAT_STATE_PICKLE_H_
