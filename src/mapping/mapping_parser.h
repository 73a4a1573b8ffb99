// The JSON text of a mapping: MAPPING.md describes it.

#ifndef DCP_MAPPING_MAPPING_PARSER_H_
#define DCP_MAPPING_MAPPING_PARSER_H_

#include <span>
#include <string_view>

#include "dcp/status.h"
#include "format/json_value.h"
#include "mapping/mapping_table.h"

namespace dcp {

/// \error kInvalidArgument  not a mapping; names the rule
StatusOr<MappingTable> ParseMappingTable(std::string_view json);

/// One of its rules, each part for itself.
/// \error kInvalidArgument  not a rule
StatusOr<MappingRule> ParseMappingRule(const JsonValue& json);

/// Whether the parts of `rule` fit each other.
/// \error kInvalidArgument  they do not
Status CheckMappingRule(const MappingRule& rule);

/// Whether `json` is an object with no other keys than `allowed`.
/// \error kInvalidArgument  it is not
Status CheckKeys(const JsonValue& json,
                 std::span<const std::string_view> allowed);

/// \error kInvalidArgument  no string; names `key`
StatusOr<std::string> TextOf(const JsonValue& json, std::string_view key);

}  // namespace dcp

#endif  // DCP_MAPPING_MAPPING_PARSER_H_
