// DequantizingSink: delivers a quantized tensor as floats.

#ifndef DCP_STORAGE_DEQUANTIZING_SINK_H_
#define DCP_STORAGE_DEQUANTIZING_SINK_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dequantize.h"
#include "dcp/device_runtime.h"
#include "storage/extent.h"
#include "storage/open_files.h"
#include "storage/quantized_tensors.h"
#include "storage/tensor_sink.h"

namespace dcp {

/// Where the scales of a tensor lie.
struct PlaceOfScales {
  StorageInfo info;
  DType dtype = DType::kFloat32;
};

/// Thread-safe after ReadScales.
class DequantizingSink final : public ExtentSink {
 public:
  /// `item` is described as it is after reading: with the target dtype and the
  /// unpacked sizes. `quantized` and `item` outlive the sink.
  DequantizingSink(const StoredItem& item, const QuantizedTensor& quantized,
                   std::vector<TensorPart> parts, int64_t block_size,
                   DeviceRuntime& device);

  /// Appends what must be read: the bytes that hold elements of the parts.
  void AppendExtents(std::vector<Extent>* extents);

  /// Reads the scales that these bytes need. After AppendExtents.
  /// Returns how many bytes were read.
  StatusOr<int64_t> ReadScales(const PlaceOfScales& place,
                               const OpenFile& file);

  std::string_view key() const override { return item_.index.fqn; }
  Status Write(int64_t begin, std::span<const std::byte> bytes) override;

 private:
  bool is_mxfp4() const {
    return quantized_.kind == QuantizedTensor::Kind::kMxfp4;
  }
  /// The first scale that is needed and the one behind the last, row-major.
  std::pair<int64_t, int64_t> RangeOfScales() const;
  void Dequantize(int64_t begin, std::span<const std::byte> bytes,
                  std::span<float> out) const;

  const StoredItem& item_;
  const QuantizedTensor& quantized_;
  const TensorPlace place_;  // of the floats
  const std::vector<TensorPart> parts_;
  DeviceRuntime& device_;
  int64_t first_byte_ = 0;  // of the extents, from the tensor's begin
  int64_t last_byte_ = -1;
  BlockScales block_scales_;
  std::vector<std::byte> group_scales_;
  int64_t first_group_ = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_DEQUANTIZING_SINK_H_
