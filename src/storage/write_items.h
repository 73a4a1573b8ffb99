// Writing the items of a plan into data files.

#ifndef DCP_STORAGE_WRITE_ITEMS_H_
#define DCP_STORAGE_WRITE_ITEMS_H_

#include <memory>
#include <span>
#include <vector>

#include "dcp/device_runtime.h"
#include "dcp/file_system.h"
#include "dcp/filesystem_storage.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "staging/write_rate.h"
#include "storage/data_file.h"
#include "storage/file_image.h"

namespace dcp {

/// What writing needs besides the items.
struct ItemWriter {
  FileSystem& file_system;
  DeviceRuntime& device;
  const FileSystemWriterOptions& options;
  WriteSource& source;
  std::shared_ptr<WriteRate> rate;  ///< may be null
};

/// The items of one file, in file order.
struct FileItems {
  DataFile* file = nullptr;
  std::vector<const WriteItem*> items;
};

/// Lays the items out and writes them, many blocks at once. Resolves no more
/// of `source` at a time than it allows. Files are neither synced nor closed.
Status WriteItems(const ItemWriter& writer, std::span<const FileItems> work);

/// As WriteItems, each item as one zstd frame.
Status WriteCompressedItems(const ItemWriter& writer,
                            std::span<const FileItems> work);

/// The dtype in which tensors of `dtype` are stored.
DType StoredDType(const FileSystemWriterOptions& options, DType dtype);

/// Asks `source` for an item and checks that it is what was planned.
/// \error kInvalidArgument  the payload has another kind or shape
StatusOr<WritePayload> ResolveItem(WriteSource& source, const WriteItem& item);

/// The payload as an item at `file_offset` of a file. Tensors are stored in
/// the dtype that `options` asks for.
StatusOr<ImageItem> MakeImageItem(const WritePayload& payload,
                                  const FileSystemWriterOptions& options,
                                  int64_t file_offset);

}  // namespace dcp

#endif  // DCP_STORAGE_WRITE_ITEMS_H_
