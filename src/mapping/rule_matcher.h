// RuleMatcher: which rule of a mapping a key is for.

#ifndef DCP_MAPPING_RULE_MATCHER_H_
#define DCP_MAPPING_RULE_MATCHER_H_

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/mapping_table.h"
#include "mapping/name_pattern.h"

namespace dcp {

/// The rule that counts for a key.
struct MatchedRule {
  size_t rule = 0;  ///< position in MappingTable::rules
  size_t name = 0;  ///< which of its side's names it has
  NameIndices indices;
};

class RuleMatcher {
 public:
  /// Of the native names as `dialect` spells them. `table` and `options`
  /// outlive the object.
  /// \error kInvalidArgument  a rule that is none with the names of `dialect`
  static StatusOr<RuleMatcher> Make(const MappingTable& table,
                                    const MappingDialect& dialect,
                                    const MappingOptions& options);

  /// The side that keys are of.
  size_t source_side() const { return source_side_; }

  /// The first rule for `key` of the source; nullopt if there is none.
  /// \error kInvalidArgument  a number that is needed to tell is missing
  StatusOr<std::optional<MatchedRule>> Find(std::string_view key) const {
    return FindOn(source_side_, key);
  }
  /// Likewise for a key of `side`.
  StatusOr<std::optional<MatchedRule>> FindOn(size_t side,
                                              std::string_view key) const;

  /// The name number `name` of `rule` on the other side.
  /// \error kInvalidArgument  a number is missing
  StatusOr<std::string> TargetName(size_t rule, size_t name,
                                   const NameIndices& indices) const;
  StatusOr<std::string> SourceName(size_t rule, size_t name,
                                   const NameIndices& indices) const;

 private:
  using Patterns = std::vector<NamePattern>;

  RuleMatcher(const MappingTable& table, const MappingOptions& options)
      : table_(table),
        options_(options),
        source_side_(options.direction == MappingDirection::kToHuggingFace
                         ? kNativeSide
                         : kHuggingFaceSide) {}

  const MappingTable& table_;
  const MappingOptions& options_;
  size_t source_side_;
  std::vector<std::array<Patterns, 2>> patterns_;  // by rule and side
};

}  // namespace dcp

#endif  // DCP_MAPPING_RULE_MATCHER_H_
