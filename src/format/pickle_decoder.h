// PickleDecoder: typed reads from a PickleGraph with one error at the end.

#ifndef DCP_FORMAT_PICKLE_DECODER_H_
#define DCP_FORMAT_PICKLE_DECODER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "dcp/dims.h"
#include "dcp/status.h"
#include "format/pickle_value.h"

namespace dcp {

/// Each read returns whether the value has the asked type and stores it;
/// otherwise it records what was found instead. `what` names the value in that
/// message. Only the first failure is kept.
class PickleDecoder {
 public:
  /// `graph` must outlive the decoder.
  explicit PickleDecoder(const PickleGraph& graph) : graph_(graph) {}

  const PickleGraph& graph() const { return graph_; }

  bool String(PickleId id, std::string_view what, std::string_view* value);
  bool Int(PickleId id, std::string_view what, int64_t* value);
  bool Bool(PickleId id, std::string_view what, bool* value);
  /// torch.Size, tuple or list of at most kMaxDims ints.
  bool Ints(PickleId id, std::string_view what, Dims* value);
  /// Elements of a tuple or list.
  bool Sequence(PickleId id, std::string_view what,
                std::span<const PickleId>* items);
  /// Keys and values in turn of a dict.
  bool Dict(PickleId id, std::string_view what,
            std::span<const PickleId>* items);
  /// The attributes, as for Dict, of an instance of `type`. An instance that
  /// was given no state has none.
  bool Attributes(PickleId id, PickleGlobal type, std::string_view what,
                  std::span<const PickleId>* items);

  /// Records `message` and returns false.
  bool Fail(std::string_view message,
            absl::StatusCode code = absl::StatusCode::kDataLoss);
  /// Fail("<what> is <kind>, not <expected>").
  bool Mismatch(PickleId id, std::string_view what, std::string_view expected);

  /// The first failure, OK if there was none.
  const Status& status() const { return status_; }

 private:
  const PickleGraph& graph_;
  Status status_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_DECODER_H_
