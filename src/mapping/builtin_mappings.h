// The mappings that are part of the library: tables/*.json.

#ifndef DCP_MAPPING_BUILTIN_MAPPINGS_H_
#define DCP_MAPPING_BUILTIN_MAPPINGS_H_

#include <span>
#include <string_view>

namespace dcp {

struct BuiltInMapping {
  std::string_view model;
  std::string_view json;
};

/// In the order of their names.
std::span<const BuiltInMapping> BuiltInMappings();

}  // namespace dcp

#endif  // DCP_MAPPING_BUILTIN_MAPPINGS_H_
