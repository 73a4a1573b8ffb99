// PickleCopier: a value of one pickle, written into another.

#ifndef DCP_FORMAT_PICKLE_COPIER_H_
#define DCP_FORMAT_PICKLE_COPIER_H_

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "dcp/status.h"
#include "format/pickle_value.h"
#include "format/pickle_writer.h"

namespace dcp {

/// Copies values of one graph into a pickle of protocol 2. Nothing is called or
/// looked up: calls and instances are copied by the names of their classes.
///
/// What values share they share in the copy, as far as one copier made it. An
/// OrderedDict stays one; attributes of it are lost.
class PickleCopier {
 public:
  /// The new key of a storage that `graph` knows as `key`.
  using NewStorageKey =
      std::function<StatusOr<std::string>(std::string_view key)>;

  /// Both outlive the copier, who alone writes to `out` while it copies.
  PickleCopier(const PickleGraph& graph, PickleWriter& out,
               NewStorageKey new_storage_key)
      : graph_(graph),
        out_(out),
        new_storage_key_(std::move(new_storage_key)) {}

  /// Puts the value `id` on top of the stack of `out`.
  /// \error kUnimplemented  a value that the graph does not keep: an int beyond
  ///     64 bits, a set of protocol 4
  /// \error kDataLoss  a value that contains itself, or is nested too deeply
  Status Copy(PickleId id) { return CopyAt(id, 0); }

 private:
  Status CopyAt(PickleId id, int depth);
  Status CopyBytes(PickleId id);
  Status CopyTuple(PickleId id, int depth);
  Status CopyList(PickleId id, int depth);
  Status CopyDict(PickleId id, int depth);
  Status CopyGlobal(PickleId id);
  Status CopyCall(PickleId id, int depth);
  Status CopyStorage(PickleId id, int depth);
  Status CopyItems(std::span<const PickleId> items, size_t batch, PickleOp end,
                   int depth);
  void Memoize(PickleId id) { memo_.emplace(id, out_.Memoize()); }

  const PickleGraph& graph_;
  PickleWriter& out_;
  const NewStorageKey new_storage_key_;
  std::unordered_map<PickleId, PickleMemo> memo_;
};

/// Python's bytes as protocol 2 has them: a call of _codecs.encode.
void PutPickledBytes(std::string_view bytes, PickleWriter* out);

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_COPIER_H_
