// 1. The stream does not synchronize with the default stream, and is of the
//    lowest priority: kernels of the trainer go before the packing kernel.
// 2. It is ordered after the caller's stream by an event that is recorded
//    there: nothing waits on the host. The event may be recorded again at once,
//    as a stream waits for what it was when it was told to (cuda.h,
//    cuStreamWaitEvent).
// 3. Behind each batch an event is recorded. Who waits for it sleeps.
// 4. A batch to memory that is not pinned is copied one by one: the driver
//    then waits for each copy itself, and takes no batches everywhere.

#include "device/cuda_copier.h"

#include <utility>

namespace dcp {
namespace {

constexpr CuResult kCuInvalidValue = 1;    // CUDA_ERROR_INVALID_VALUE
constexpr CuResult kCuNotSupported = 801;  // CUDA_ERROR_NOT_SUPPORTED

/// What cuMemcpyBatchAsync takes.
struct BatchArrays {
  BatchArrays(std::span<const DeviceCopy> copies, std::byte* host) {
    to.reserve(copies.size());
    from.reserve(copies.size());
    nbytes.reserve(copies.size());
    for (const DeviceCopy& copy : copies) {
      to.push_back(reinterpret_cast<CuDevicePtr>(host + copy.offset));
      from.push_back(reinterpret_cast<CuDevicePtr>(copy.device_data));
      nbytes.push_back(copy.nbytes);
    }
  }

  CuResult Enqueue(const CudaDriverApi& api, CuStream stream) {
    if (api.memcpy_batch_async_v2 != nullptr) {
      return api.memcpy_batch_async_v2(to.data(), from.data(), nbytes.data(),
                                       to.size(), &attributes, &first, 1,
                                       stream);
    }
    size_t failed = 0;
    return api.memcpy_batch_async(to.data(), from.data(), nbytes.data(),
                                  to.size(), &attributes, &first, 1, &failed,
                                  stream);
  }

  std::vector<CuDevicePtr> to;
  std::vector<CuDevicePtr> from;
  std::vector<size_t> nbytes;
  CuMemcpyAttributes attributes;
  size_t first = 0;  // the attributes are for all from here
};

}  // namespace

StatusOr<std::unique_ptr<DeviceCopier>> CudaCopier::Make(Shared shared,
                                                         Device device,
                                                         CopyMethod method) {
  std::unique_ptr<CudaCopier> copier(new CudaCopier(std::move(shared), device));
  const Status made = copier->contexts_->Run(device, [&]() -> Status {
    DCP_RETURN_IF_ERROR(copier->MakeStream());
    if (method == CopyMethod::kPacked) {
      copier->packer_ = copier->packers_->Take(device);
    }
    return absl::OkStatus();
  });
  DCP_RETURN_IF_ERROR(made);
  return std::unique_ptr<DeviceCopier>(std::move(copier));
}

Status CudaCopier::MakeStream() {
  int least = 0;
  int greatest = 0;
  DCP_RETURN_IF_ERROR(
      Check(api().ctx_get_stream_priority_range(&least, &greatest),
            "cuCtxGetStreamPriorityRange"));
  return Check(
      api().stream_create_with_priority(&stream_, kCuStreamNonBlocking, least),
      "cuStreamCreateWithPriority");
}

CudaCopier::~CudaCopier() {
  if (stream_ == nullptr) return;
  // A device that is lost does not write any more, and its errors were seen.
  (void)contexts_->Run(device_, [this] {
    const bool is_idle = api().stream_synchronize(stream_) == 0;
    for (const auto& [batch, event] : in_flight_) api().event_destroy(event);
    for (CuEvent event : spare_events_) api().event_destroy(event);
    if (is_idle && packer_ != nullptr) {
      packers_->Return(device_, std::move(packer_));
    }
    packer_.reset();
    api().stream_destroy(stream_);
    return absl::OkStatus();
  });
}

StatusOr<CuEvent> CudaCopier::TakeEvent() {
  if (!spare_events_.empty()) {
    const CuEvent event = spare_events_.back();
    spare_events_.pop_back();
    return event;
  }
  CuEvent event = nullptr;
  DCP_RETURN_IF_ERROR(Check(
      api().event_create(&event, kCuEventBlockingSync | kCuEventDisableTiming),
      "cuEventCreate"));
  return event;
}

Status CudaCopier::OrderAfter(uintptr_t stream) {
  return contexts_->Run(device_, [&]() -> Status {
    DCP_ASSIGN_OR_RETURN(const CuEvent event, TakeEvent());
    spare_events_.push_back(event);
    DCP_RETURN_IF_ERROR(
        Check(api().event_record(event, reinterpret_cast<CuStream>(stream)),
              "cuEventRecord on the caller's stream"));
    return Check(api().stream_wait_event(stream_, event, 0),
                 "cuStreamWaitEvent");
  });
}

StatusOr<uint64_t> CudaCopier::Enqueue(const CopyBatch& batch) {
  const uint64_t batch_number = next_batch_++;
  const Status enqueued = contexts_->Run(device_, [&]() -> Status {
    DCP_RETURN_IF_ERROR(EnqueueCopies(batch));
    DCP_ASSIGN_OR_RETURN(const CuEvent event, TakeEvent());
    in_flight_.emplace(batch_number, event);
    return Check(api().event_record(event, stream_), "cuEventRecord");
  });
  DCP_RETURN_IF_ERROR(enqueued);
  return batch_number;
}

Status CudaCopier::EnqueueCopies(const CopyBatch& batch) {
  if (!batch.is_pinned) {
    return EnqueueOneByOne(batch.copies, batch.host.data());
  }
  if (packer_ != nullptr) return EnqueuePacked(batch);
  return EnqueueTogether(batch.copies, batch.host.data());
}

Status CudaCopier::EnqueueOneByOne(std::span<const DeviceCopy> copies,
                                   std::byte* host) {
  for (const DeviceCopy& copy : copies) {
    DCP_RETURN_IF_ERROR(Check(
        api().memcpy_dtoh_async(host + copy.offset,
                                reinterpret_cast<CuDevicePtr>(copy.device_data),
                                copy.nbytes, stream_),
        "cuMemcpyDtoHAsync"));
  }
  return absl::OkStatus();
}

Status CudaCopier::EnqueueTogether(std::span<const DeviceCopy> copies,
                                   std::byte* host) {
  const bool has_batches = api().memcpy_batch_async_v2 != nullptr ||
                           api().memcpy_batch_async != nullptr;
  if (copies.size() < 2 || !has_batches) return EnqueueOneByOne(copies, host);
  const CuResult result = BatchArrays(copies, host).Enqueue(api(), stream_);
  // What a driver does not take in a batch (memory of some allocator, a length)
  // it may take alone; else that call tells why not. Twice does no harm.
  if (result == kCuNotSupported || result == kCuInvalidValue) {
    return EnqueueOneByOne(copies, host);
  }
  return Check(result, "cuMemcpyBatchAsync");
}

Status CudaCopier::EnqueuePacked(const CopyBatch& batch) {
  std::vector<DeviceCopy> alone;
  std::span<const DeviceCopy> rest = batch.copies;
  while (!rest.empty()) {
    const PackRun run = NextPackRun(rest);
    rest = rest.subspan(run.copies.size());
    if (run.is_packed) {
      DCP_RETURN_IF_ERROR(packer_->Enqueue(run, batch.host, stream_));
    } else {
      alone.push_back(run.copies.front());
    }
  }
  return EnqueueTogether(alone, batch.host.data());
}

StatusOr<bool> CudaCopier::IsComplete(uint64_t batch) {
  const auto found = in_flight_.find(batch);
  if (found == in_flight_.end()) return true;
  CuResult result = 0;
  DCP_RETURN_IF_ERROR(contexts_->Run(device_, [&] {
    result = api().event_query(found->second);
    return result == kCuNotReady ? absl::OkStatus()
                                 : Check(result, "cuEventQuery");
  }));
  return result == 0;
}

Status CudaCopier::Wait(uint64_t batch) {
  const auto found = in_flight_.find(batch);
  if (found == in_flight_.end()) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(contexts_->Run(device_, [&] {
    return Check(api().event_synchronize(found->second), "cuEventSynchronize");
  }));
  spare_events_.push_back(found->second);
  in_flight_.erase(found);
  return absl::OkStatus();
}

void CudaCopier::Drain() {
  // A device that is lost does not write any more, and its errors were seen.
  (void)contexts_->Run(device_, [this] {
    return Check(api().stream_synchronize(stream_), "cuStreamSynchronize");
  });
}

}  // namespace dcp
