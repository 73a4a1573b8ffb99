#include "storage/device_scatter.h"

#include <algorithm>
#include <vector>

#include "base/cast.h"
#include "base/strided_copy.h"

namespace dcp {
namespace {

/// The number of trailing dimensions over which both the box in the image and
/// the destination are contiguous, and the elements in them.
struct Stretch {
  int ndim = 0;
  int64_t count = 1;
};

Stretch LongestStretch(const ChunkImage& image, const TensorPart& part) {
  Stretch stretch;
  const Box& box = part.box;
  for (int d = box.ndim() - 1; d >= 0; --d) {
    const bool is_dense =
        box.sizes[d] == 1 || part.destination.strides[d] == stretch.count;
    if (!is_dense) break;
    stretch.count *= box.sizes[d];
    ++stretch.ndim;
    if (box.sizes[d] != image.sizes[d]) break;  // gaps in the image beyond
  }
  return stretch;
}

/// Copies elements [first, first + count) of one stretch, casting on the host.
Status CopyElements(const TensorPlace& place, const TensorView& view,
                    std::byte* destination, std::span<const std::byte> source,
                    DeviceRuntime& device) {
  if (view.dtype == place.image.dtype && place.op == ElementOp::kNone) {
    return device.CopyToDevice(destination, source.data(), source.size(),
                               view.device, view.stream);
  }
  const int64_t count =
      static_cast<int64_t>(source.size()) / ItemSize(place.image.dtype);
  std::vector<std::byte> host(
      static_cast<size_t>(count * ItemSize(view.dtype)));
  const TensorView staged =
      ContiguousView(host.data(), view.dtype, Dims{count});
  ScatterRange({.dtype = place.image.dtype, .sizes = {count}},
               WholeBox({count}), staged, 0, source, place.op);
  return device.CopyToDevice(destination, host.data(), host.size(), view.device,
                             view.stream);
}

}  // namespace

Status ScatterToDevice(const TensorPlace& place, const TensorPart& part,
                       int64_t begin, std::span<const std::byte> bytes,
                       DeviceRuntime& device) {
  if (part.box.numel() == 0) return absl::OkStatus();
  const ChunkImage& image = place.image;
  const TensorView& view = part.destination;
  const int64_t itemsize = ItemSize(image.dtype);
  const int64_t first = begin / itemsize;
  const int64_t last = first + static_cast<int64_t>(bytes.size()) / itemsize;
  const Stretch stretch = LongestStretch(image, part);
  const int outer = part.box.ndim() - stretch.ndim;
  const Dims strides = ContiguousStrides(image.sizes);
  Dims index = Dims::Filled(outer, 0);
  while (true) {
    int64_t at = 0;  // image element of this stretch
    int64_t to = 0;  // destination element
    for (int d = 0; d < part.box.ndim(); ++d) {
      const int64_t i = d < outer ? index[d] : 0;
      at += (part.box.offsets[d] + i) * strides[d];
      to += i * view.strides[d];
    }
    if (at >= last) return absl::OkStatus();  // stretches ascend
    const int64_t from = std::max(at, first);
    const int64_t until = std::min(at + stretch.count, last);
    if (from < until) {
      DCP_RETURN_IF_ERROR(CopyElements(
          place, view,
          static_cast<std::byte*>(view.data) +
              (to + from - at) * ItemSize(view.dtype),
          bytes.subspan(static_cast<size_t>((from - first) * itemsize),
                        static_cast<size_t>((until - from) * itemsize)),
          device));
    }
    int d = outer - 1;
    while (d >= 0 && ++index[d] == part.box.sizes[d]) index[d--] = 0;
    if (d < 0) return absl::OkStatus();
  }
}

}  // namespace dcp
