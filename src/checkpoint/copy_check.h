// Whether what is copied is what was written.

#ifndef DCP_CHECKPOINT_COPY_CHECK_H_
#define DCP_CHECKPOINT_COPY_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "checkpoint/copy_source.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "format/sidecar.h"

namespace dcp {

/// Checks `bytes`, from `byte_offset` on of the file `path`, against `record`.
/// Blocks of the sidecar's are whole in it, but for the file's last.
/// \error kDataLoss  names the block
Status CheckBlocks(const SidecarFile& record, const std::string& path,
                   int64_t byte_offset, std::span<const std::byte> bytes);

/// Checks, item by item, the data files that were copied to `destination` and
/// have no record: those of stock torch, with CRC-32s inside.
/// \error kDataLoss  names the file of the source
Status CheckCopiedItems(const CopySource& source,
                        const std::string& destination, const IoOptions& io,
                        const StorageEnvironment& environment);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_COPY_CHECK_H_
