// The copier of CUDA devices against a stand-in for the driver's library.

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dcp/device_runtime.h"
#include "device/stand_in_driver.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

constexpr uintptr_t kStream = 0x5000;
constexpr Device kDevice{.type = DeviceType::kCuda, .index = 1};

/// A driver in its initial state.
StandInState& Driver(const char* file = DCP_STAND_IN_DRIVER) {
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  const auto function =
      reinterpret_cast<StandInStateFunction>(dlsym(library, "stand_in_state"));
  REQUIRE(function != nullptr);
  *function() = StandInState();
  return *function();
}

/// Tensors of several sizes in memory that is taken for a device's, and a place
/// for their copies.
struct Tensors {
  Tensors() {
    size_t offset = 0;
    for (size_t nbytes : {100, 7, 3 << 20, 65536, 70000, 1}) {
      memory.push_back(
          std::string(nbytes, static_cast<char>('a' + offset % 7)));
      copies.push_back({.device_data = memory.back().data(),
                        .offset = offset,
                        .nbytes = nbytes});
      offset += (nbytes + 63) / 64 * 64;
    }
    host.resize(offset);
  }

  CopyBatch Batch(bool is_pinned = true) {
    return {.host = std::as_writable_bytes(std::span(host)),
            .is_pinned = is_pinned,
            .copies = copies};
  }
  bool AreCopied() const {
    for (size_t i = 0; i < copies.size(); ++i) {
      if (host.compare(copies[i].offset, copies[i].nbytes, memory[i]) != 0) {
        return false;
      }
    }
    return true;
  }

  std::vector<std::string> memory;
  std::vector<DeviceCopy> copies;
  std::string host;
};

Status CopyAll(DeviceCopier& copier, const CopyBatch& batch) {
  DCP_RETURN_IF_ERROR(copier.OrderAfter(kStream));
  DCP_ASSIGN_OR_RETURN(const uint64_t number, copier.Enqueue(batch));
  return copier.Wait(number);
}

TEST_CASE("copies run on a stream of their own, after the caller's work",
          "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    CHECK(driver.own_priority == kStandInLeastPriority);
    CHECK(driver.own_flags == 1);  // does not synchronize with stream 0
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    CHECK(tensors.AreCopied());
    CHECK(std::string(driver.log) ==
          "record(caller) wait(own) batch(own) record(own) ");
    CHECK(driver.synchronized_stream == nullptr);
  }
  CHECK(driver.synchronized_stream == driver.own_stream);
  CHECK(driver.objects == 0);
  CHECK(driver.pushed == 0);
}

TEST_CASE("a batch is one call where the driver has that", "[device]") {
  struct Case {
    const char* driver;
    const char* log;
  };
  for (const Case& test :
       {Case{DCP_STAND_IN_DRIVER, "batch(own) record(own) "},
        Case{DCP_STAND_IN_DRIVER_128, "batch(own) record(own) "},
        Case{DCP_STAND_IN_DRIVER_OLD,
             "copy(own) copy(own) copy(own) copy(own) copy(own) copy(own) "
             "record(own) "}}) {
    INFO(test.driver);
    StandInState& driver = Driver(test.driver);
    const auto runtime = MakeCudaRuntimeFrom(test.driver);
    Tensors tensors;
    const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    CHECK(tensors.AreCopied());
    CHECK(std::string(driver.log) ==
          std::string("record(caller) wait(own) ") + test.log);
  }
}

TEST_CASE("batches that a driver refuses, or pageable memory, go one by one",
          "[device]") {
  for (bool is_pinned : {true, false}) {
    StandInState& driver = Driver();
    driver.failing_call = kStandInBatch;
    driver.error = 801;  // CUDA_ERROR_NOT_SUPPORTED
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    Tensors tensors;
    const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kPacked);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch(is_pinned)).ok());
    CHECK(tensors.AreCopied());
    CHECK(driver.calls[kStandInBatch] == 0);  // packed, or one large copy
    CHECK(driver.calls[kStandInToHost] >= 3);
  }
  StandInState& driver = Driver();
  driver.failing_call = kStandInBatch;
  driver.error = 801;
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
  REQUIRE(copier.ok());
  REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
  CHECK(driver.calls[kStandInBatch] == 1);
  CHECK(driver.calls[kStandInToHost] == 6);
}

TEST_CASE("a batch is complete when its event has passed", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
  REQUIRE(copier.ok());
  const auto first = (*copier)->Enqueue(tensors.Batch());
  const auto second = (*copier)->Enqueue(tensors.Batch());
  REQUIRE((first.ok() && second.ok()));
  driver.events_have_passed = false;
  CHECK(*(*copier)->IsComplete(*first) == false);
  driver.events_have_passed = true;
  CHECK(*(*copier)->IsComplete(*second));
  CHECK((*copier)->Wait(*second).ok());
  CHECK((*copier)->Wait(*first).ok());
  CHECK(*(*copier)->IsComplete(*first));  // who has waited
  // Their events serve again.
  CHECK((*copier)->Enqueue(tensors.Batch()).ok());
  CHECK(driver.calls[kStandInEventCreate] == 2);
}

TEST_CASE("each call of a copier that fails is named, and leaves nothing",
          "[device]") {
  struct Case {
    StandInCall call;
    const char* name;
  };
  for (const Case& test :
       {Case{kStandInPriorities, "cuCtxGetStreamPriorityRange"},
        Case{kStandInStreamCreate, "cuStreamCreateWithPriority"},
        Case{kStandInEventCreate, "cuEventCreate"},
        Case{kStandInEventRecord, "cuEventRecord"},
        Case{kStandInStreamWait, "cuStreamWaitEvent"},
        Case{kStandInBatch, "cuMemcpyBatchAsync"},
        Case{kStandInEventSynchronize, "cuEventSynchronize"}}) {
    INFO(test.name);
    StandInState& driver = Driver();
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    driver.failing_call = test.call;
    driver.error = 700;
    Tensors tensors;
    const auto copy = [&]() -> Status {
      DCP_ASSIGN_OR_RETURN(const auto copier,
                           runtime->MakeCopier(kDevice, CopyMethod::kBatched));
      return CopyAll(*copier, tensors.Batch());
    };
    CHECK_THAT(std::string(Message(copy())),
               Contains(test.name) && Contains("illegal memory access"));
    CHECK(driver.objects == 0);
    CHECK(driver.pushed == 0);
  }
}

TEST_CASE("an error that a kernel left behind is one of the poll", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
  REQUIRE(copier.ok());
  const auto batch = (*copier)->Enqueue(tensors.Batch());
  driver.failing_call = kStandInEventQuery;
  driver.error = 700;
  CHECK_THAT(std::string(Message((*copier)->IsComplete(*batch).status())),
             Contains("cuEventQuery"));
}

TEST_CASE("host memory is pinned for all devices, or it is said why not",
          "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  std::string memory(4096, ' ');
  const auto bytes = std::as_writable_bytes(std::span(memory));
  CHECK(runtime->Pin(bytes, kDevice).ok());
  CHECK(runtime->Unpin(bytes, kDevice).ok());
  CHECK(driver.calls[kStandInRegister] == 1);
  CHECK(driver.calls[kStandInUnregister] == 1);
  driver.error = 2;
  driver.failing_call = kStandInRegister;
  CHECK_THAT(std::string(Message(runtime->Pin(bytes, kDevice))),
             Contains("cuMemHostRegister") && Contains("(2)"));
  driver.failing_call = kStandInUnregister;
  CHECK_THAT(std::string(Message(runtime->Unpin(bytes, kDevice))),
             Contains("cuMemHostUnregister"));
}

TEST_CASE("a copier may outlive its runtime", "[device]") {
  StandInState& driver = Driver();
  auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    runtime.reset();
    CHECK(driver.retained[1] == 1);
    CHECK(CopyAll(**copier, tensors.Batch()).ok());
  }
  CHECK(driver.retained[1] == 0);
}

TEST_CASE("a build knows whether it can pack", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  const bool can_pack = PackKernelState() == "built in";
  if (!can_pack) WARN("NO PACKING TESTED: " << PackKernelState());
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kPacked);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    CHECK(tensors.AreCopied());
  }
  const std::string log = driver.log;
  CHECK(log == (can_pack ? "record(caller) wait(own) "
                           "pack(own) record(own) copy(own) "
                           "pack(own) record(own) copy(own) "
                           "copy(own) record(own) "
                         : "record(caller) wait(own) batch(own) record(own) "));
  CHECK(driver.objects == 0);
}

TEST_CASE("a device that has no room for packing copies batches", "[device]") {
  for (StandInCall call : {kStandInModule, kStandInAllocate}) {
    StandInState& driver = Driver();
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    driver.failing_call = call;
    driver.error = 2;
    Tensors tensors;
    {
      const auto copier = runtime->MakeCopier(kDevice, CopyMethod::kPacked);
      REQUIRE(copier.ok());
      REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    }
    CHECK(tensors.AreCopied());
    CHECK(driver.calls[kStandInBatch] == 1);
    CHECK(driver.objects == 0);
  }
}

}  // namespace
}  // namespace dcp
