#include "storage/gather_view.h"

#include <vector>

#include "base/cast.h"
#include "base/strided_copy.h"

namespace dcp {
namespace {

Status GatherFromDevice(const TensorView& view, DType dtype, int64_t byte_begin,
                        DeviceRuntime& device, std::span<std::byte> out) {
  if (!view.is_contiguous()) {
    return Unimplemented(
        "a device tensor must be contiguous to be saved; pass a contiguous "
        "copy");
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
