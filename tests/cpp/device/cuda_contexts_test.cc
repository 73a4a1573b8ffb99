#include "device/cuda_contexts.h"

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <new>
#include <string>

#include "dcp/device_runtime.h"
#include "device/stand_in.h"

namespace dcp {
namespace {

TEST_CASE("what a body throws leaves no context behind", "[device]") {
  StandInState& driver = Driver();
  CudaDriverApi api;
  REQUIRE(LookUpCudaDriver(dlopen(DCP_STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL),
                           &api) == nullptr);
  CudaContexts contexts(api);
  const Status status =
      contexts.Run(kSecond, []() -> Status { throw std::bad_alloc(); });
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(driver.pushed == 0);
  CHECK(driver.capture_mode == 0);
}

/// All that a save asks of a device.
Status CopyByAllMeans(DeviceRuntime& runtime) {
  for (CopyMethod method : {CopyMethod::kBatched, CopyMethod::kPacked}) {
    Tensors tensors;
    const CopyBatch batch = tensors.Batch();
    DCP_RETURN_IF_ERROR(runtime.Pin(batch.host, kSecond));
    DCP_ASSIGN_OR_RETURN(const auto copier,
                         runtime.MakeCopier(kSecond, method));
    DCP_ASSIGN_OR_RETURN(const uint64_t number, copier->Enqueue(batch));
    DCP_RETURN_IF_ERROR(copier->IsComplete(number).status());
    DCP_RETURN_IF_ERROR(copier->Wait(number));
    DCP_RETURN_IF_ERROR(runtime.Unpin(batch.host, kSecond));
    CHECK(tensors.AreCopied());
  }
  return absl::OkStatus();
}

TEST_CASE("a graph that another thread captures stays whole", "[device]") {
  StandInState& driver = Driver();
  driver.is_captured = true;
  auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  const Status copied = CopyByAllMeans(*runtime);
  INFO(Message(copied));
  CHECK(copied.ok());
  runtime.reset();
  CHECK_FALSE(driver.was_broken);
  CHECK(driver.capture_mode == 0);  // the thread's own
}

TEST_CASE("a driver that knows no capture modes copies", "[device]") {
  Driver(DCP_STAND_IN_DRIVER_OLD);
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER_OLD);
  const Status copied = CopyByAllMeans(*runtime);
  INFO(Message(copied));
  CHECK(copied.ok());
}

}  // namespace
}  // namespace dcp
