#include "checkpoint/tensor_stream.h"

#include "checkpoint/conversion_plan.h"

namespace dcp {
namespace {

constexpr ReadAheadOptions kReadAhead{.batch_nbytes = int64_t{32} << 20,
                                      .max_nbytes = int64_t{96} << 20};

std::vector<SourceTensor> SourcesOf(const Metadata& metadata,
                                    std::span<const std::string_view> keys) {
  std::vector<SourceTensor> tensors;
  tensors.reserve(keys.size());
  for (const std::string_view key : keys) {
    const TensorStorageMetadata* stored = metadata.FindTensor(key);
    const DType dtype = stored->properties.dtype;
    tensors.push_back(
        {.fqn = key,
         .stored = stored,
         .dtype = dtype,
         .unit_nbytes = UnitNbytes(metadata, std::string(key), dtype),
         .is_encoded = GetDTypeInfo(dtype).kind == DTypeKind::kQuantized});
  }
  return tensors;
}

}  // namespace

TensorStream::TensorStream(const CheckpointIndex& index, StorageReader& reader,
                           std::span<const std::string_view> keys)
    : tensors_(SourcesOf(index.metadata, keys)),
      pieces_(reader, [this] { return ahead_.Proceed(); }),
      ahead_(tensors_, pieces_, kReadAhead) {}

}  // namespace dcp
