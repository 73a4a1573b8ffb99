#include "storage/gather_view.h"

#include <vector>

#include "base/cast.h"
#include "base/strided_copy.h"

namespace dcp {
namespace {

/// Bytes of a device that are copied at once for elements that lie apart.
constexpr int64_t kMaxHullNbytes = int64_t{32} << 20;

/// The smallest box of a tensor of `sizes` that has the elements [first, last)
/// of its row-major image, and none before or behind in it that lie between.
Box BoxOf(const Dims& sizes, int64_t first, int64_t last) {
  const Dims strides = ContiguousStrides(sizes);
  Box box = WholeBox(sizes);
  int64_t end = last - 1;
  for (int d = 0; d < sizes.size(); ++d) {
    box.offsets[d] = first / strides[d];
    box.sizes[d] = end / strides[d] - box.offsets[d] + 1;
    if (box.sizes[d] > 1) break;  // all of the dimensions that follow
    first %= strides[d];
    end %= strides[d];
  }
  return box;
}

/// Elements from the first to the last in memory, relative to the view's.
struct Hull {
  int64_t begin = 0;
  int64_t end = 1;
};

Hull HullOf(const TensorView& view) {
  Hull hull;
  for (int d = 0; d < view.sizes.size(); ++d) {
    const int64_t reach = (view.sizes[d] - 1) * view.strides[d];
    (reach < 0 ? hull.begin : hull.end) += reach;
  }
  return hull;
}

/// Of a view whose elements lie apart: copies those between them, too, and
/// takes them apart on the host.
Status GatherHull(const TensorView& view, DType dtype, int64_t byte_begin,
                  DeviceRuntime& device, std::span<std::byte> out) {
  const int64_t itemsize = ItemSize(dtype);
  const int64_t first = byte_begin / itemsize;
  const int64_t last = (byte_begin + std::ssize(out) + itemsize - 1) / itemsize;
  const Box box = BoxOf(view.sizes, first, last);
  TensorView part = Narrow(view, box);
  const Hull hull = HullOf(part);
  const int64_t nbytes = (hull.end - hull.begin) * ItemSize(view.dtype);
  if (nbytes > kMaxHullNbytes && last - first > 1) {
    const int64_t middle = (first + last) / 2 * itemsize;
    const auto count = static_cast<size_t>(middle - byte_begin);
    DCP_RETURN_IF_ERROR(
        GatherHull(view, dtype, byte_begin, device, out.first(count)));
    return GatherHull(view, dtype, middle, device, out.subspan(count));
  }
  std::vector<std::byte> host(static_cast<size_t>(nbytes));
  const auto* source = static_cast<const std::byte*>(part.data);
  DCP_RETURN_IF_ERROR(
      device.CopyToHost(host.data(), source + hull.begin * ItemSize(view.dtype),
                        host.size(), view.device, view.stream));
  part.data = host.data() - hull.begin * ItemSize(view.dtype);
  part.device = {};
  const Dims strides = ContiguousStrides(view.sizes);
  for (int d = 0; d < box.ndim(); ++d) {
    byte_begin -= box.offsets[d] * strides[d] * itemsize;
  }
  GatherRange(part, dtype, byte_begin, out);
  return absl::OkStatus();
}

Status GatherFromDevice(const TensorView& view, DType dtype, int64_t byte_begin,
                        DeviceRuntime& device, std::span<std::byte> out) {
  if (out.empty()) return absl::OkStatus();
  if (!view.is_contiguous()) {
    return GatherHull(view, dtype, byte_begin, device, out);
  }
  const auto* source = static_cast<const std::byte*>(view.data);
  if (view.dtype == dtype) {
    return device.CopyToHost(out.data(), source + byte_begin, out.size(),
                             view.device, view.stream);
  }
  const int64_t count = static_cast<int64_t>(out.size()) / ItemSize(dtype);
  const int64_t first = byte_begin / ItemSize(dtype);
  std::vector<std::byte> host(
      static_cast<size_t>(count * ItemSize(view.dtype)));
  DCP_RETURN_IF_ERROR(device.CopyToHost(host.data(),
                                        source + first * ItemSize(view.dtype),
                                        host.size(), view.device, view.stream));
  CastElements(view.dtype, host.data(), dtype, out.data(), count);
  return absl::OkStatus();
}

}  // namespace

bool IsStoredAsInMemory(const TensorView& view, DType dtype) {
  return view.device.type == DeviceType::kCpu && view.dtype == dtype &&
         view.op == ElementOp::kNone && view.is_contiguous();
}

Status GatherView(const TensorView& view, DType dtype, int64_t byte_begin,
                  DeviceRuntime& device, std::span<std::byte> out) {
  if (view.device.type != DeviceType::kCpu) {
    return GatherFromDevice(view, dtype, byte_begin, device, out);
  }
  GatherRange(view, dtype, byte_begin, out);
  return absl::OkStatus();
}

}  // namespace dcp
