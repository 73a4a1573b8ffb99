#include "mapping/dialect_choice.h"

#include <cstddef>
#include <string>

#include "base/printable.h"
#include "mapping/rule_matcher.h"

namespace dcp {
namespace {

StatusOr<MappingDialect> DialectCalled(const MappingTable& table,
                                       const std::string& name) {
  std::string known;
  for (const MappingDialect& dialect : table.dialects) {
    if (dialect.name == name) return dialect;
    known += (known.empty() ? "" : ", ") + dialect.name;
  }
  return InvalidArgument("the mapping " + table.name + " has no dialect \"" +
                         Printable(name) + "\", only: " + known);
}

/// For how many of `sources` there is no rule.
StatusOr<size_t> CountUnknown(const RuleMatcher& matcher,
                              std::span<const MappingSource> sources) {
  size_t count = 0;
  for (const MappingSource& source : sources) {
    if (source.is_left_out) continue;
    DCP_ASSIGN_OR_RETURN(const auto found, matcher.Find(source.name));
    if (!found) ++count;
  }
  return count;
}

}  // namespace

StatusOr<MappingDialect> ChooseDialect(const MappingTable& table,
                                       std::span<const MappingSource> sources,
                                       const MappingOptions& options) {
  if (!options.dialect.empty()) return DialectCalled(table, options.dialect);
  if (table.dialects.empty()) return MappingDialect();
  if (options.direction == MappingDirection::kToNative) {
    return table.dialects[0];
  }
  const MappingDialect* best = nullptr;
  size_t fewest = 0;
  for (const MappingDialect& dialect : table.dialects) {
    DCP_ASSIGN_OR_RETURN(const RuleMatcher matcher,
                         RuleMatcher::Make(table, dialect, options));
    DCP_ASSIGN_OR_RETURN(const size_t unknown, CountUnknown(matcher, sources));
    if (best != nullptr && unknown >= fewest) continue;
    best = &dialect;
    fewest = unknown;
  }
  return *best;
}

}  // namespace dcp
