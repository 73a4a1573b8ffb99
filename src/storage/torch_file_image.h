// TorchFileImage: the bytes of a file of torch.save, record by record.

#ifndef DCP_STORAGE_TORCH_FILE_IMAGE_H_
#define DCP_STORAGE_TORCH_FILE_IMAGE_H_

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/tensor_view.h"
#include "format/zip_writer.h"
#include "staging/write_pipeline.h"

namespace dcp {

/// The data of one record: a tensor that comes bit by bit, one in memory, whose
/// elements become `dtype`, or bytes.
struct StreamedRecord {
  WriteStream* stream = nullptr;
  const WriteItem* item = nullptr;
};
struct ViewRecord {
  TensorView view;
  DType dtype = DType::kFloat32;
};
struct RecordData {
  int64_t nbytes = 0;
  std::variant<StreamedRecord, ViewRecord, std::string_view> content;
};

/// Fill calls of several threads may run at once.
class TorchFileImage final : public BlockFiller {
 public:
  /// `pickle` is data.pkl, which names `records` by their numbers.
  TorchFileImage(std::string pickle, std::vector<RecordData> records);

  int64_t nbytes() const { return layout_.nbytes; }
  int64_t data_offset(size_t record) const {
    return RecordAt(record).data_offset;
  }

  /// Waits where a descriptor or the directory needs the CRC-32 of data that
  /// other threads are filling; what it waits for belongs to earlier blocks.
  Status Fill(const WriteBlock& block, FillMode mode,
              std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override;
  void Cancel() override;

 private:
  struct Crc {
    struct Piece {
      int64_t begin;
      int64_t nbytes;
      uint32_t crc;
    };
    std::vector<Piece> pieces;
    int64_t nbytes_missing = 0;
  };
  /// A range of the file, and its place in memory.
  struct Part {
    int64_t begin = 0;
    std::span<std::byte> out;
    int64_t end() const { return begin + static_cast<int64_t>(out.size()); }
    /// What lies in [from, to).
    Part Within(int64_t from, int64_t to) const;
  };

  const ZipRecord& RecordAt(size_t record) const;
  Status FillRecord(size_t record, const Part& part);
  Status FillData(size_t record, int64_t begin, std::span<std::byte> out);
  Status FillTail(const Part& part);
  void AddCrc(size_t record, int64_t begin, int64_t nbytes, uint32_t crc);
  StatusOr<uint32_t> AwaitCrc(size_t record);

  const std::string pickle_;
  const std::vector<RecordData> data_;
  std::deque<std::string> names_;   // of the data records
  std::vector<ZipRecord> records_;  // head, data, tail
  ZipLayout layout_;
  std::string head_;  // the records before the data
  Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Crc> crcs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STORAGE_TORCH_FILE_IMAGE_H_
