// Reading items that are zstd frames.

#ifndef DCP_STORAGE_COMPRESSED_ITEM_H_
#define DCP_STORAGE_COMPRESSED_ITEM_H_

#include <span>

#include "dcp/status.h"
#include "staging/pipeline_options.h"
#include "storage/item_places.h"
#include "storage/whole_item.h"

namespace dcp {

/// Decompresses one item; see ReadCompressedItems.
Status ReadCompressedItem(const StoredItem& item, const OpenFile& file,
                          const DecodeContext& context);

/// Decompresses `items`, several at once, and hands them to their target.
/// Stored bytes are checked against the sidecar where there is one and
/// context.verify is set; what they expand to against its own CRC-32s.
/// \error kInvalidArgument  another transform than stream.zstd/1
Status ReadCompressedItems(std::span<const ItemInFile> items,
                           const DecodeContext& context,
                           const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_COMPRESSED_ITEM_H_
