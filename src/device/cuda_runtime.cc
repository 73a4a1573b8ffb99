// The CUDA driver, looked up at run time:
// 1. libcuda.so.1 comes with the driver, so it is there exactly on machines
//    that have a GPU to offer; a PyTorch process has it loaded already.
// 2. Copies run in the device's primary context, the one that PyTorch uses.
//    It is retained on first use and released with the runtime.
// 3. A copy is queued on the caller's stream, behind the work that produces
//    the tensor, and waited for. Copies beside that work: cuda_copier.cc.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dcp/device_runtime.h"
#include "device/cuda_contexts.h"
#include "device/cuda_copier.h"
#include "device/cuda_driver_api.h"
#include "device/numa_node.h"
#include "device/pack_image.h"

namespace dcp {
namespace {

/// A runtime that explains why there is none.
class NoRuntime final : public DeviceRuntime {
 public:
  explicit NoRuntime(std::string reason) : reason_(std::move(reason)) {}

  std::string Describe() const override { return "none: " + reason_; }
  bool available() const override { return false; }
  Status CopyToHost(void*, const void*, size_t, Device, uintptr_t) override {
    return Unavailable();
  }
  Status CopyToDevice(void*, const void*, size_t, Device, uintptr_t) override {
    return Unavailable();
  }
  StatusOr<std::unique_ptr<DeviceCopier>> MakeCopier(Device,
                                                     CopyMethod) override {
    return Unavailable();
  }
  Status Pin(std::span<std::byte>, Device) override { return Unavailable(); }
  Status Unpin(std::span<std::byte>, Device) override { return Unavailable(); }

 private:
  Status Unavailable() const {
    return FailedPrecondition(
        "a tensor lies on a CUDA device, and CUDA is "
        "not available: " +
        reason_);
  }
  const std::string reason_;
};

class CudaRuntime final : public DeviceRuntime {
 public:
  CudaRuntime(const CudaDriverApi& api, std::string description,
              std::string sysfs)
      : contexts_(std::make_shared<CudaContexts>(api)),
        packers_(std::make_shared<CudaPackers>(contexts_)),
        description_(std::move(description)),
        sysfs_(std::move(sysfs)) {}

  std::string Describe() const override { return description_; }
  bool available() const override { return true; }

  Status CopyToHost(void* host, const void* device_data, size_t nbytes,
                    Device device, uintptr_t stream) override {
    return CopyAndWait(device, stream, "cuMemcpyDtoHAsync",
                       [&](CuStream on_stream) {
                         return api().memcpy_dtoh_async(
                             host, reinterpret_cast<CuDevicePtr>(device_data),
                             nbytes, on_stream);
                       });
  }

  Status CopyToDevice(void* device_data, const void* host, size_t nbytes,
                      Device device, uintptr_t stream) override {
    return CopyAndWait(device, stream, "cuMemcpyHtoDAsync",
                       [&](CuStream on_stream) {
                         return api().memcpy_htod_async(
                             reinterpret_cast<CuDevicePtr>(device_data), host,
                             nbytes, on_stream);
                       });
  }

  StatusOr<std::unique_ptr<DeviceCopier>> MakeCopier(
      Device device, CopyMethod method) override {
    return CudaCopier::Make({.contexts = contexts_, .packers = packers_},
                            device, method);
  }

  Status Pin(std::span<std::byte> memory, Device device) override {
    return contexts_->Run(device, [&] {
      return contexts_->Check(
          api().mem_host_register(memory.data(), memory.size(),
                                  kCuRegisterPortable),
          "cuMemHostRegister");
    });
  }

  Status Unpin(std::span<std::byte> memory, Device device) override {
    return contexts_->Run(device, [&] {
      return contexts_->Check(api().mem_host_unregister(memory.data()),
                              "cuMemHostUnregister");
    });
  }

  std::optional<int> HostNode(Device device) override {
    std::array<char, 32> bus_id{};
    CuDevice number = 0;
    if (api().device_get_pci_bus_id == nullptr ||
        api().device_get(&number, device.index) != 0 ||
        api().device_get_pci_bus_id(
            bus_id.data(), static_cast<int>(bus_id.size()), number) != 0) {
      return std::nullopt;
    }
    return NumaNodeOfPciDevice(bus_id.data(), sysfs_);
  }

 private:
  const CudaDriverApi& api() const { return contexts_->api(); }

  template <typename Copy>
  Status CopyAndWait(Device device, uintptr_t stream, const char* call,
                     const Copy& copy) {
    const auto on_stream = reinterpret_cast<CuStream>(stream);
    return contexts_->Run(device, [&]() -> Status {
      DCP_RETURN_IF_ERROR(contexts_->Check(copy(on_stream), call));
      return contexts_->Check(api().stream_synchronize(on_stream),
                              "cuStreamSynchronize");
    });
  }

  // Shared with copiers, which may outlive this:
  const std::shared_ptr<CudaContexts> contexts_;
  const std::shared_ptr<CudaPackers> packers_;
  const std::string description_;
  const std::string sysfs_;
};

}  // namespace

std::shared_ptr<DeviceRuntime> MakeCudaRuntime() {
  // Looking for a library that is not there takes 0.1 ms.
  static const std::shared_ptr<DeviceRuntime> runtime =
      MakeCudaRuntimeFrom("libcuda.so.1");
  return runtime;
}

std::shared_ptr<DeviceRuntime> MakeNoDeviceRuntime() {
  return std::make_shared<NoRuntime>("this process uses no device");
}

std::shared_ptr<DeviceRuntime> MakeCudaRuntimeFrom(const std::string& library,
                                                   const std::string& sysfs) {
  const StatusOr<CudaDriverApi> opened = OpenCudaDriver(library);
  if (!opened.ok()) {
    return std::make_shared<NoRuntime>(std::string(Message(opened.status())));
  }
  const CudaDriverApi& api = *opened;
  int count = 0;
  api.device_get_count(&count);
  int version = 0;
  api.driver_get_version(&version);
  return std::make_shared<CudaRuntime>(
      api,
      "cuda " + std::to_string(version / 1000) + "." +
          std::to_string(version % 1000 / 10) + ", " + std::to_string(count) +
          " device(s) (" + library + ")",
      sysfs);
}

std::string PackKernelState() {
  return PackImage() != nullptr
             ? "built in"
             : "not built: there was no CUDA toolkit (nvcc, bin2c) that worked";
}

}  // namespace dcp
