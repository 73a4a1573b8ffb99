// FileImage: the bytes of one data file, item by item.

#ifndef DCP_STORAGE_FILE_IMAGE_H_
#define DCP_STORAGE_FILE_IMAGE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/device_runtime.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/tensor_view.h"
#include "format/torch_item.h"
#include "staging/write_pipeline.h"
#include "storage/block_builder.h"
#include "storage/block_checksums.h"

namespace dcp {

/// A tensor to be stored as a torch.save zip. `view` is cast to `spec.dtype`.
struct TensorImage {
  TensorItemSpec spec;
  TensorItemLayout layout;
  TensorView view;
  /// Set if the elements come from there, as `item`; `view` is empty then. Both
  /// outlive the image.
  WriteStream* stream = nullptr;
  const WriteItem* item = nullptr;
};

/// Whether the tensor's memory is what is stored, so that writes can refer to
/// it instead of copying.
bool IsStoredAsInMemory(const TensorImage& tensor);

/// One item and its place.
struct ImageItem {
  int64_t file_offset = 0;
  int64_t length = 0;
  /// A tensor, or a finished item.
  std::variant<TensorImage, std::string_view> content;
};

/// Some consecutive items of one file, and the checksums of that file.
///
/// Fill calls of several threads may run at once.
class FileImage {
 public:
  /// `items` are in file order. `checksums` must outlive the image and takes
  /// the CRC of every byte that is filled.
  FileImage(std::vector<ImageItem> items, DeviceRuntime& device,
            BlockChecksums& checksums);

  std::span<const ImageItem> items() const { return items_; }

  /// See BlockFiller::Fill. Waits where a zip trailer needs the CRC of tensor
  /// data that other threads are filling.
  Status Fill(int64_t byte_offset, int64_t nbytes, FillMode mode,
              std::span<std::byte> buffer, std::vector<IoSlice>* slices);
  void Cancel();

 private:
  /// The CRC of one tensor's data, put together from pieces in any order.
  struct DataCrc {
    struct Piece {
      int64_t begin;
      int64_t nbytes;
      uint32_t crc;
    };
    std::vector<Piece> pieces;
    int64_t nbytes_missing = 0;
  };

  Status FillTensor(size_t item, int64_t begin, int64_t end,
                    BlockBuilder& builder);
  Status FillData(const TensorImage& tensor, int64_t begin, int64_t end,
                  BlockBuilder& builder, DataCrc* crc);
  static uint32_t Combine(DataCrc& crc);
  void AddPieces(size_t item, const DataCrc& crc);
  StatusOr<uint32_t> AwaitCrc(size_t item);

  std::vector<ImageItem> items_;
  DeviceRuntime& device_;
  BlockChecksums& checksums_;
  Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  /// By item; only for items that lie in more than one block.
  std::vector<std::unique_ptr<DataCrc>> shared_crcs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STORAGE_FILE_IMAGE_H_
