// The copier of CUDA devices against a stand-in for the driver's library.

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "dcp/device_runtime.h"
#include "device/stand_in.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("copies run on a stream of their own, after the caller's work",
          "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    CHECK(driver.own_priority == kStandInLeastPriority);
    CHECK(driver.own_flags == 1);  // does not synchronize with stream 0
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    CHECK(driver.event_flags == 3);  // who waits sleeps; takes no time
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
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    CHECK(tensors.AreCopied());
    CHECK(std::string(driver.log) ==
          std::string("record(caller) wait(own) ") + test.log);
  }
}

TEST_CASE("batches that a driver refuses, or pageable memory, go one by one",
          "[device]") {
  struct Case {
    int error;
    bool is_pinned;
    int batches;
  };
  for (const Case& test : {Case{801, true, 1},  // CUDA_ERROR_NOT_SUPPORTED
                           Case{1, true, 1},    // CUDA_ERROR_INVALID_VALUE
                           Case{801, false, 0}}) {
    INFO("error " << test.error << ", is_pinned " << test.is_pinned);
    StandInState& driver = Driver();
    driver.failing_call = kStandInBatch;
    driver.error = test.error;
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    Tensors tensors;
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch(test.is_pinned)).ok());
    CHECK(tensors.AreCopied());
    CHECK(driver.calls[kStandInBatch] == test.batches);
    CHECK(driver.calls[kStandInToHost] == 6);
  }
}

TEST_CASE("a batch is complete when its event has passed", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
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

TEST_CASE("a copier that is drained has made its copies, and has its stream",
          "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
  REQUIRE(copier.ok());
  driver.is_late = true;
  REQUIRE((*copier)->Enqueue(tensors.Batch()).ok());
  CHECK_FALSE(tensors.AreCopied());
  (*copier)->Drain();
  CHECK(tensors.AreCopied());
  const std::string& device = tensors.memory.front();
  std::string host(device.size(), '?');
  CHECK(runtime
            ->CopyToHost(host.data(), device.data(), host.size(), kSecond,
                         (*copier)->stream())
            .ok());
  CHECK(host == device);
  CHECK(driver.last_stream == driver.own_stream);
}

TEST_CASE("a batch whose event failed takes no other one's place", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    driver.failing_call = kStandInEventRecord;
    driver.error = 700;
    CHECK_FALSE((*copier)->Enqueue(tensors.Batch()).ok());
    driver.failing_call = kStandInNone;
    driver.is_late = true;
    const auto batch = (*copier)->Enqueue(tensors.Batch());
    REQUIRE(batch.ok());
    CHECK((*copier)->Wait(*batch).ok());
    CHECK(tensors.AreCopied());
  }
  CHECK(driver.objects == 0);
}

TEST_CASE("each call of a copier that fails is named, and leaves nothing",
          "[device]") {
  struct Case {
    StandInCall call;
    const char* name;
  };
  for (const Case& test :
       {Case{kStandInExchangeCaptureMode, "cuThreadExchangeStreamCaptureMode"},
        Case{kStandInPriorities, "cuCtxGetStreamPriorityRange"},
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
                           runtime->MakeCopier(kSecond, CopyMethod::kBatched));
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
  const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
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
  CHECK(runtime->Pin(bytes, kSecond).ok());
  CHECK(runtime->Unpin(bytes, kSecond).ok());
  CHECK(driver.calls[kStandInRegister] == 1);
  CHECK(driver.calls[kStandInUnregister] == 1);
  driver.error = 2;
  driver.failing_call = kStandInRegister;
  CHECK_THAT(std::string(Message(runtime->Pin(bytes, kSecond))),
             Contains("cuMemHostRegister") && Contains("(2)"));
  driver.failing_call = kStandInUnregister;
  CHECK_THAT(std::string(Message(runtime->Unpin(bytes, kSecond))),
             Contains("cuMemHostUnregister"));
}

TEST_CASE("a copier may outlive its runtime", "[device]") {
  StandInState& driver = Driver();
  auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  Tensors tensors;
  {
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kBatched);
    REQUIRE(copier.ok());
    runtime.reset();
    CHECK(driver.retained[1] == 1);
    CHECK(CopyAll(**copier, tensors.Batch()).ok());
  }
  CHECK(driver.retained[1] == 0);
}

}  // namespace
}  // namespace dcp
