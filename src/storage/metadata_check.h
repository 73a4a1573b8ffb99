// What the metadata of a checkpoint promises, without looking at data.

#ifndef DCP_STORAGE_METADATA_CHECK_H_
#define DCP_STORAGE_METADATA_CHECK_H_

#include <string>
#include <string_view>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/plan.h"
#include "storage/damage_log.h"
#include "storage/stored_item.h"

namespace dcp {

struct MetadataCheck {
  const Metadata& metadata;
  std::string path;            ///< of the metadata, for messages
  std::string_view directory;  ///< outlives the items
  CoverageRule coverage = CoverageRule::kRequireFull;
};

/// The stored items, by file and offset, without reads. What is wrong with
/// them or with the chunks goes to `log`: no place, a path that leaves the
/// directory, overlaps, gaps.
std::vector<StoredItem> ListStoredItems(const MetadataCheck& check,
                                        DamageLog& log);

}  // namespace dcp

#endif  // DCP_STORAGE_METADATA_CHECK_H_
