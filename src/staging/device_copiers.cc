#include "staging/device_copiers.h"

#include <set>
#include <utility>

#include "staging/snapshot_layout.h"

namespace dcp {

Status DeviceCopiers::Make(std::span<const TensorView> views,
                           DeviceRuntime* runtime, CopyMethod method) {
  std::set<std::pair<int, uintptr_t>> ordered;
  for (const TensorView& view : views) {
    if (view.device.type == DeviceType::kCpu || !NbytesInMemory(view)) continue;
    if (!ordered.emplace(view.device.index, view.stream).second) continue;
    std::unique_ptr<DeviceCopier>& copier = copiers_[view.device.index];
    if (copier == nullptr) {
      DCP_ASSIGN_OR_RETURN(copier, runtime->MakeCopier(view.device, method));
    }
    DCP_RETURN_IF_ERROR(copier->OrderAfter(view.stream));
  }
  return absl::OkStatus();
}

}  // namespace dcp
