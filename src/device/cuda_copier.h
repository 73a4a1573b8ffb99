// CudaCopier: the DeviceCopier of a CUDA device.

#ifndef DCP_DEVICE_CUDA_COPIER_H_
#define DCP_DEVICE_CUDA_COPIER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "dcp/device_runtime.h"
#include "device/cuda_contexts.h"
#include "device/cuda_packers.h"

namespace dcp {

class CudaCopier final : public DeviceCopier {
 public:
  /// What a runtime's copiers share.
  struct Shared {
    std::shared_ptr<CudaContexts> contexts;
    std::shared_ptr<CudaPackers> packers;
  };
  static StatusOr<std::unique_ptr<DeviceCopier>> Make(Shared shared,
                                                      Device device,
                                                      CopyMethod method);
  CudaCopier(const CudaCopier&) = delete;
  CudaCopier& operator=(const CudaCopier&) = delete;
  ~CudaCopier() override;

  Status OrderAfter(uintptr_t stream) override;
  StatusOr<uint64_t> Enqueue(const CopyBatch& batch) override;
  StatusOr<bool> IsComplete(uint64_t batch) override;
  Status Wait(uint64_t batch) override;
  void Drain() override;
  uintptr_t stream() const override {
    return reinterpret_cast<uintptr_t>(stream_);
  }

 private:
  CudaCopier(Shared shared, Device device)
      : contexts_(std::move(shared.contexts)),
        packers_(std::move(shared.packers)),
        device_(device) {}

  const CudaDriverApi& api() const { return contexts_->api(); }
  Status Check(CuResult result, const char* call) const {
    return contexts_->Check(result, call);
  }

  // With the context current:
  Status MakeStream();
  Status EnqueueCopies(const CopyBatch& batch);
  Status EnqueueOneByOne(std::span<const DeviceCopy> copies, std::byte* host);
  Status EnqueueTogether(std::span<const DeviceCopy> copies, std::byte* host);
  Status EnqueuePacked(const CopyBatch& batch);
  /// An event that has passed, or was never used.
  StatusOr<CuEvent> TakeEvent();

  const std::shared_ptr<CudaContexts> contexts_;
  const std::shared_ptr<CudaPackers> packers_;
  const Device device_;
  CuStream stream_ = nullptr;
  std::unique_ptr<CudaPacker> packer_;  // null: kBatched
  std::vector<CuEvent> spare_events_;
  std::map<uint64_t, CuEvent> in_flight_;
  uint64_t next_batch_ = 0;
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_COPIER_H_
