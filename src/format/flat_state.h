// FlattenState: flat keys of a pickled state dict, by torch's rules.

#ifndef DCP_FORMAT_FLAT_STATE_H_
#define DCP_FORMAT_FLAT_STATE_H_

#include <string>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/pickle_value.h"

namespace dcp {

struct FlatLeaf {
  std::string fqn;
  ObjectPath path;
  PickleId value = kNoPickleId;
};

/// The leaves of the dict at the root of `graph`, in order.
///
/// torch 2.13 _traverse.py, _nested_dict.py: dicts are descended into, and
/// lists that hold, at any depth of lists, a tensor or a dict; tuples never.
/// Keys of dicts become strings, as str() makes them, and are joined by ".".
/// \error kInvalidArgument  the root is no dict, or two leaves have one flat
/// key \error kUnimplemented  a key of a dict that is neither str, int, bool
/// nor
///     None
/// \error kDataLoss  a dict that contains itself, or far more leaves than
/// values
StatusOr<std::vector<FlatLeaf>> FlattenState(const PickleGraph& graph);

}  // namespace dcp

#endif  // DCP_FORMAT_FLAT_STATE_H_
