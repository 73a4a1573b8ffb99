// What a mapping's rule makes of tensors, whatever their names.

#ifndef DCP_MAPPING_RULE_LAYOUT_H_
#define DCP_MAPPING_RULE_LAYOUT_H_

#include <cstddef>
#include <span>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/mapping_table.h"

namespace dcp {

/// A tensor that a rule takes.
struct RuleSource {
  size_t position = 0;  ///< MappedPart::source
  const MappingSource* tensor = nullptr;
};

/// The tensors without names that `rule` makes of all parts of one side: of
/// `side`, in the order of its names or stacked indices.
/// \error kInvalidArgument  shapes or dtypes that do not fit; a missing number
StatusOr<std::vector<MappedTensor>> LayOut(const MappingRule& rule, size_t side,
                                           std::span<const RuleSource> sources,
                                           const ModelNumbers& numbers);

}  // namespace dcp

#endif  // DCP_MAPPING_RULE_LAYOUT_H_
