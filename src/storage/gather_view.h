// Reading ranges of a tensor's stored image from wherever the tensor is.

#ifndef DCP_STORAGE_GATHER_VIEW_H_
#define DCP_STORAGE_GATHER_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dcp/device_runtime.h"
#include "dcp/dtype.h"
#include "dcp/status.h"
#include "dcp/tensor_view.h"

namespace dcp {

/// Copied and checksummed at a time: fits the L2 cache of every server core.
inline constexpr int64_t kGatherGranule = int64_t{256} << 10;

/// Whether the memory of `view` is its row-major image in `dtype`, on the host.
bool IsStoredAsInMemory(const TensorView& view, DType dtype);

/// Fills `out` with bytes [byte_begin, byte_begin + out.size()) of the
/// row-major image of `view`, cast to `dtype`: GatherRange for views on any
/// device. Elements of a device that lie apart come with what lies between
/// them, 32 MiB at a time.
Status GatherView(const TensorView& view, DType dtype, int64_t byte_begin,
                  DeviceRuntime& device, std::span<std::byte> out);

}  // namespace dcp

#endif  // DCP_STORAGE_GATHER_VIEW_H_
