#include "dcp/plan.h"

namespace dcp {

MetadataIndex WriteItem::index() const {
  MetadataIndex index{.fqn = fqn};
  if (type != WriteItemType::kByteIo) index.offset = chunk.offsets;
  return index;
}

}  // namespace dcp
