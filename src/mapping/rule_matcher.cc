#include "mapping/rule_matcher.h"

#include <utility>

#include "mapping/mapping_parser.h"

namespace dcp {

StatusOr<RuleMatcher> RuleMatcher::Make(const MappingTable& table,
                                        const MappingDialect& dialect,
                                        const MappingOptions& options) {
  RuleMatcher matcher(table, options);
  for (MappingRule rule : table.rules) {
    for (std::string& name : rule.sides[kNativeSide].names) {
      name = dialect.Spell(std::move(name));
    }
    // A dialect may take a placeholder out of a name, or put one in.
    DCP_RETURN_IF_ERROR(Annotate(
        CheckMappingRule(rule),
        "rule " + std::to_string(matcher.patterns_.size() + 1) +
            " of the mapping, as dialect " + dialect.name + " spells it"));
    std::array<Patterns, 2> patterns;
    for (size_t side = 0; side < patterns.size(); ++side) {
      for (const std::string& name : rule.sides[side].names) {
        DCP_ASSIGN_OR_RETURN(NamePattern pattern, NamePattern::Parse(name));
        patterns[side].push_back(std::move(pattern));
      }
    }
    matcher.patterns_.push_back(std::move(patterns));
  }
  return matcher;
}

StatusOr<std::optional<MatchedRule>> RuleMatcher::FindOn(
    size_t side, std::string_view key) const {
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (table_.rules[i].kind == MappingRule::Kind::kDropDequantized &&
        !options_.is_dequantized) {
      continue;
    }
    const Patterns& names = patterns_[i][side];
    for (size_t k = 0; k < names.size(); ++k) {
      DCP_ASSIGN_OR_RETURN(std::optional<NameIndices> indices,
                           names[k].Match(key, options_.numbers));
      if (!indices) continue;
      return MatchedRule{.rule = i, .name = k, .indices = *std::move(indices)};
    }
  }
  return std::nullopt;
}

StatusOr<std::string> RuleMatcher::TargetName(
    size_t rule, size_t name, const NameIndices& indices) const {
  return patterns_[rule][1 - source_side_][name].NameOf(indices,
                                                        options_.numbers);
}

StatusOr<std::string> RuleMatcher::SourceName(
    size_t rule, size_t name, const NameIndices& indices) const {
  return patterns_[rule][source_side_][name].NameOf(indices, options_.numbers);
}

}  // namespace dcp
