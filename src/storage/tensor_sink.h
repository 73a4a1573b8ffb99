// TensorSink: delivers the bytes of one stored tensor to its destinations.

#ifndef DCP_STORAGE_TENSOR_SINK_H_
#define DCP_STORAGE_TENSOR_SINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/device_runtime.h"
#include "storage/extent.h"
#include "storage/partial_crcs.h"
#include "storage/stored_item.h"

namespace dcp {

/// A box of the stored tensor and where it goes, both in image order.
struct TensorPart {
  Box box;
  TensorView destination;
};

/// Asks `target` for the destinations of an item's reads.
StatusOr<std::vector<TensorPart>> ResolveParts(const StoredItem& item,
                                               const TensorPlace& place,
                                               ReadTarget& target);

/// The bytes of `image` that hold the parts: ascending and apart. Those that
/// lie closer together than a device would gain by skipping are one run.
std::vector<ByteRun> JoinedRuns(const ChunkImage& image,
                                const std::vector<TensorPart>& parts);

/// Copies the elements of `image` that `bytes`, from image byte `begin` on,
/// hold to `part`, casting and crossing to a device as needed.
Status DeliverBytes(const TensorPlace& place, const TensorPart& part,
                    int64_t begin, std::span<const std::byte> bytes,
                    DeviceRuntime& device);

/// Thread-safe.
class TensorSink final : public ExtentSink {
 public:
  /// `check_crc` has the item's own CRC-32 checked; all data must then come.
  enum class CheckCrc : uint8_t { kNo, kYes };
  TensorSink(const StoredItem& item, TensorPlace place,
             std::vector<TensorPart> parts, CheckCrc check_crc,
             DeviceRuntime& device);

  /// Of kNo: has `parts` check the CRC-32 when all data has come, by this sink
  /// and others of the same tensor. `parts` outlives the sink.
  void CheckInParts(PartialCrcs& parts);

  /// Appends what must be read: all data if the CRC is to be checked, else the
  /// runs of the parts.
  void AppendExtents(std::vector<Extent>* extents);

  std::string_view key() const override { return item_.index.fqn; }
  std::byte* InPlace(int64_t begin, int64_t end) override;
  Status Write(int64_t begin, std::span<const std::byte> bytes) override;

 private:
  struct CrcPiece {
    int64_t begin;
    int64_t nbytes;
    uint32_t crc;
  };

  Status AddCrc(int64_t begin, std::span<const std::byte> bytes);

  const StoredItem& item_;
  const TensorPlace place_;
  const std::vector<TensorPart> parts_;
  const bool check_crc_;
  DeviceRuntime& device_;
  PartialCrcs* parts_crc_ = nullptr;
  /// Set if the data has one destination that takes it byte by byte: the image
  /// byte at which the destination begins, and its memory.
  std::byte* plain_memory_ = nullptr;
  int64_t plain_begin_ = 0;
  int64_t plain_end_ = 0;

  Mutex mutex_;
  std::vector<CrcPiece> crcs_ ABSL_GUARDED_BY(mutex_);
  int64_t crc_nbytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_TENSOR_SINK_H_
