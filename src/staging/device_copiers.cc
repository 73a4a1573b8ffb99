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
    auto copier = copiers_.find(view.device.index);
    if (copier == copiers_.end()) {
      DCP_ASSIGN_OR_RETURN(auto made, runtime->MakeCopier(view.device, method));
      copier = copiers_.emplace(view.device.index, std::move(made)).first;
    }
    DCP_RETURN_IF_ERROR(copier->second->OrderAfter(view.stream));
  }
  return absl::OkStatus();
}

void DeviceCopiers::Drain() {
  for (const auto& [index, copier] : copiers_) copier->Drain();
}

TensorView DeviceCopiers::OnOwnStream(TensorView view) const {
  if (view.device.type == DeviceType::kCpu) return view;
  // There is none for a view without elements.
  const auto copier = copiers_.find(view.device.index);
  if (copier != copiers_.end()) view.stream = copier->second->stream();
  return view;
}

}  // namespace dcp
