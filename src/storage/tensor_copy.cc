#include "dcp/tensor_copy.h"

#include <algorithm>
#include <vector>

#include "base/cast.h"
#include "base/strided_copy.h"
#include "storage/device_scatter.h"

namespace dcp {
namespace {

// What does not lie as an image goes through a buffer of this many bytes, a
// multiple of every item size.
constexpr int64_t kPiece = int64_t{1} << 20;

bool IsOnHost(const TensorView& view) {
  return view.device.type == DeviceType::kCpu;
}

Status Check(const TensorView& source, const TensorView& destination) {
  if (source.sizes != destination.sizes) {
    return InvalidArgument("cannot copy a tensor of shape " +
                           ToString(source.sizes) + " to one of shape " +
                           ToString(destination.sizes));
  }
  if (!CanCast(source.dtype, destination.dtype)) {
    return InvalidArgument("cannot convert " +
                           std::string(DTypeName(source.dtype)) + " to " +
                           std::string(DTypeName(destination.dtype)));
  }
  if (!IsOnHost(source) && !source.is_contiguous()) {
    return Unimplemented(
        "a device tensor must be contiguous to be copied from");
  }
  return absl::OkStatus();
}

/// Bytes [begin, begin + out.size()) of the row-major image of `source`.
Status Gather(const TensorView& source, int64_t begin, DeviceRuntime& device,
              std::span<std::byte> out) {
  if (IsOnHost(source)) {
    GatherRange(source, source.dtype, begin, out);
    return absl::OkStatus();
  }
  return device.CopyToHost(out.data(),
                           static_cast<const std::byte*>(source.data) + begin,
                           out.size(), source.device, source.stream);
}

/// Delivers bytes of the image that begin at `begin` to `destination`.
Status Scatter(DType stored, int64_t begin, std::span<const std::byte> bytes,
               const TensorView& destination, DeviceRuntime& device) {
  const ChunkImage image{.dtype = stored, .sizes = destination.sizes};
  const Box whole = WholeBox(destination.sizes);
  if (IsOnHost(destination)) {
    ScatterRange(image, whole, destination, begin, bytes);
    return absl::OkStatus();
  }
  return ScatterToDevice({.image = image},
                         {.box = whole, .destination = destination}, begin,
                         bytes, device);
}

}  // namespace

Status CopyTensor(const TensorView& source, const TensorView& destination,
                  DeviceRuntime& device) {
  DCP_RETURN_IF_ERROR(Check(source, destination));
  const int64_t total = source.nbytes();
  if (total == 0) return absl::OkStatus();
  if (IsOnHost(source) && source.is_contiguous()) {
    return Scatter(source.dtype, 0,
                   {static_cast<const std::byte*>(source.data),
                    static_cast<size_t>(total)},
                   destination, device);
  }
  std::vector<std::byte> buffer(static_cast<size_t>(std::min(total, kPiece)));
  for (int64_t begin = 0; begin < total; begin += kPiece) {
    const std::span<std::byte> piece = std::span(buffer).first(
        static_cast<size_t>(std::min(kPiece, total - begin)));
    DCP_RETURN_IF_ERROR(Gather(source, begin, device, piece));
    DCP_RETURN_IF_ERROR(
        Scatter(source.dtype, begin, piece, destination, device));
  }
  return absl::OkStatus();
}

}  // namespace dcp
