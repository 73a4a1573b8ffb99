// Which version of the native names a mapping is to use.

#ifndef DCP_MAPPING_DIALECT_CHOICE_H_
#define DCP_MAPPING_DIALECT_CHOICE_H_

#include <span>

#include "dcp/mapping.h"
#include "dcp/status.h"
#include "mapping/mapping_table.h"

namespace dcp {

/// See MappingOptions::dialect; one without name that alters nothing if `table`
/// has none.
/// \error kInvalidArgument  it has none of the name that `options` give; rules
///     that are none with a dialect's names
StatusOr<MappingDialect> ChooseDialect(const MappingTable& table,
                                       std::span<const MappingSource> sources,
                                       const MappingOptions& options);

}  // namespace dcp

#endif  // DCP_MAPPING_DIALECT_CHOICE_H_
