#include "mapping/mapping_table.h"

#include "mapping/name_pattern.h"

namespace dcp {

size_t MappingRule::many() const {
  const RuleSide& native = sides[kNativeSide];
  const bool is_stacked =
      !stack.empty() && !native.names.empty() &&
      native.names[0].find("{" + stack + "}") != std::string::npos;
  return native.names.size() > 1 || is_stacked ? kNativeSide : kHuggingFaceSide;
}

std::string MappingDialect::Spell(std::string native) const {
  for (const auto& [from, to] : replacements) {
    for (size_t at = native.find(from);
         at != native.npos && native.size() <= NamePattern::kMaxNbytes;
         at = native.find(from, at + to.size())) {
      native.replace(at, from.size(), to);
    }
  }
  return native;
}

}  // namespace dcp
