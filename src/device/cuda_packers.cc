#include "device/cuda_packers.h"

namespace dcp {

CudaPackers::~CudaPackers() {
  const MutexLock lock(mutex_);
  for (auto& [index, packer] : spare_) {
    // Without its context, the memory is gone already.
    (void)contexts_->Run({.type = DeviceType::kCuda, .index = index},
                         [&spare = packer] {
                           spare.reset();
                           return absl::OkStatus();
                         });
  }
}

std::unique_ptr<CudaPacker> CudaPackers::Take(Device device) {
  {
    const MutexLock lock(mutex_);
    auto spare = spare_.extract(device.index);
    if (!spare.empty()) return std::move(spare.mapped());
  }
  return CudaPacker::Make(*contexts_);
}

void CudaPackers::Return(Device device, std::unique_ptr<CudaPacker> packer) {
  const MutexLock lock(mutex_);
  spare_.try_emplace(device.index, std::move(packer));
}

}  // namespace dcp
