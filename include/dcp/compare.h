// Compare: what two checkpoints have in common, whatever their formats.

#ifndef DCP_COMPARE_H_
#define DCP_COMPARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// What is known of a tensor without reading it.
struct TensorForm {
  DType dtype = DType::kFloat32;
  Dims shape;
  bool operator==(const TensorForm&) const = default;
};

/// Nothing is known of an object.
struct ObjectForm {
  bool operator==(const ObjectForm&) const = default;
};

using StoredForm = std::variant<TensorForm, ObjectForm>;

struct FormDifference {
  std::string fqn;
  StoredForm a;
  StoredForm b;
};

/// Of a tensor or object that has one form in both.
struct ValueDifference {
  std::string fqn;
  /// Elements whose bytes differ; 0 for an object, and for a tensor that only
  /// torch can decode.
  int64_t elements = 0;
  /// The largest distance between elements, of tensors of real numbers; NaN
  /// if one of two that differ is NaN.
  std::optional<double> max_distance;
};

struct CheckpointDifference {
  std::vector<std::string> only_in_a;  ///< in the order of a
  std::vector<std::string> only_in_b;  ///< in the order of b
  std::vector<FormDifference> forms;   ///< in the order of a, as what follows
  std::vector<ValueDifference> values;
  int64_t keys_in_common = 0;
  int64_t nbytes_compared = 0;  ///< of tensors, in each of both

  bool empty() const {
    return only_in_a.empty() && only_in_b.empty() && forms.empty() &&
           values.empty();
  }
};

enum class CompareDepth : uint8_t {
  kForms,   ///< keys, dtypes and shapes; no data is read
  kValues,  ///< what has one form in both is read and compared, too
};

struct CompareOptions {
  CompareDepth depth = CompareDepth::kForms;
  IoOptions io;
};

/// Compares what is at two paths: see Describe. Sharding does not matter.
/// Tensors are equal if their bytes are, objects if they are one value, or
/// bytes where C++ cannot decode them.
///
/// Tensors are read bit by bit, within 1 GiB; of compressed checkpoints the
/// largest chunk is in memory as a whole.
/// \error  see Describe
StatusOr<CheckpointDifference> Compare(const std::string& a,
                                       const std::string& b,
                                       const CompareOptions& options = {},
                                       StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_COMPARE_H_
