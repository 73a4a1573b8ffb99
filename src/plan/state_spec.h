// StateSpec: what a rank saves, as far as all ranks of its kind agree on it.
//
// With DTensors the ranks of a job, or of a pipeline stage, have the same state
// but for the chunks, which follow from the rank: so one spec stands for all of
// them, and its digest says whether two ranks, or two saves, have the same.

#ifndef DCP_PLAN_STATE_SPEC_H_
#define DCP_PLAN_STATE_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/digest128.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "plan/mesh_layout.h"

namespace dcp {

/// A tensor of which each rank holds the chunk that its layout says.
struct LaidOutTensor {
  TensorProperties properties;  ///< dtype as stored
  uint32_t layout = 0;          ///< number among StateSpec::layouts
  bool operator==(const LaidOutTensor&) const = default;
};

/// A tensor that every rank of the spec holds whole.
struct WholeTensor {
  TensorProperties properties;  ///< dtype as stored
  Dims size;
  /// Bytes that it adds to the checkpoint: its elements, or what is stored
  /// where it is stored encoded.
  int64_t nbytes = 0;
  bool operator==(const WholeTensor&) const = default;
};

/// An object that every rank of the spec holds.
struct StateObject {
  int64_t nbytes = 0;
  bool operator==(const StateObject&) const = default;
};

struct StateEntry {
  std::string fqn;
  std::variant<LaidOutTensor, WholeTensor, StateObject> value;
  bool operator==(const StateEntry&) const = default;
};

struct StateSpec {
  std::vector<DeviceMesh> meshes;     ///< distinct
  std::vector<TensorLayout> layouts;  ///< distinct
  /// In the order of the ranks' local plans, where each is one item.
  std::vector<StateEntry> entries;
  /// As SavePlan::planner_data.
  std::optional<std::unordered_map<std::string, ObjectPath>> planner_data;
  /// As SavePlan::ties.
  std::map<std::string, std::string> ties;
  bool operator==(const StateSpec&) const = default;
};

/// `spec` with its tensors alone, and their paths: ranks whose objects differ
/// may have the same.
StateSpec WithoutObjects(StateSpec spec);

/// Checks `spec` by itself: numbers in range, layouts that its meshes allow,
/// bytes that are not negative and in all fit 63 bits.
/// \error kInvalidArgument  names the entry, layout or mesh
Status CheckStateSpec(const StateSpec& spec);

/// Compact and canonical: equal specs have equal bytes. 124 KB for the state of
/// a 70B model with AdamW and its paths, whatever the number of ranks.
std::string SerializeStateSpec(const StateSpec& spec);
/// The result has passed CheckStateSpec.
/// \error kDataLoss  truncated or malformed, or more than 2^24 ranks in meshes
/// \error kFailedPrecondition  written by a version that this one cannot read
StatusOr<StateSpec> ParseStateSpec(std::string_view data);

/// The digest of `spec` in its binary form: another one if any field of any
/// entry differs.
Digest128 DigestOf(const StateSpec& spec);

}  // namespace dcp

#endif  // DCP_PLAN_STATE_SPEC_H_
