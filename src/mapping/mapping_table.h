// MappingTable: what a mapping's JSON text says.

#ifndef DCP_MAPPING_MAPPING_TABLE_H_
#define DCP_MAPPING_MAPPING_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/dtype.h"
#include "dcp/mapping.h"
#include "mapping/layout_step.h"
#include "mapping/number_expr.h"

namespace dcp {

inline constexpr size_t kNativeSide = 0;
inline constexpr size_t kHuggingFaceSide = 1;

/// The names of a rule on one side, and what brings them into the rule's common
/// form.
struct RuleSide {
  std::vector<std::string> names;  ///< patterns; empty: the side has none
  std::vector<LayoutStep> steps;
  std::optional<DType> cast;  ///< what tensors of this side are stored as
};

/// A key that Hugging Face's files lack if it is another name of one that they
/// have.
struct RuleTie {
  std::string to;         ///< native
  std::string condition;  ///< the number that is 1 if it is so
};

/// Tensors of one side that are tensors of the other. If one side has several,
/// by names or by the indices of `stack`, each is brought into the common form;
/// joined along dimension `concat`, or as the indices of a new first one, they
/// are the other side's tensor in that form.
struct MappingRule {
  enum class Kind : uint8_t {
    kMap,
    kDrop,             ///< only one side has names
    kDropDequantized,  ///< likewise, if MappingOptions::is_dequantized
  };
  Kind kind = Kind::kMap;
  std::array<RuleSide, 2> sides;  ///< by kNativeSide and kHuggingFaceSide
  int concat = 0;
  std::vector<NumberExpr> sizes;  ///< along `concat`; empty: all the same
  std::string stack;              ///< a placeholder of one side; maybe empty
  std::vector<NumberExpr> count;  ///< one or none: of the stack's indices
  std::optional<RuleTie> tie;

  /// The side that has several tensors; Hugging Face's if none does.
  size_t many() const;
};

/// A version of the native names.
struct MappingDialect {
  std::string name;
  /// What is put in place of each text in the rules' native names.
  std::vector<std::pair<std::string, std::string>> replacements;

  /// No longer a pattern (NamePattern) if that would be too long.
  std::string Spell(std::string native) const;
};

struct MappingTable {
  std::string name;
  std::string file_stem;  ///< HuggingFaceWriterOptions; maybe empty
  std::vector<MappingDialect> dialects;
  std::map<std::string, ModelNumbers, std::less<>> flavors;
  std::vector<MappingRule> rules;
};

}  // namespace dcp

#endif  // DCP_MAPPING_MAPPING_TABLE_H_
