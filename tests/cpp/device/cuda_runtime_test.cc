// The CUDA runtime against a stand-in for the driver's library.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dcp/device_runtime.h"
#include "device/stand_in.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::shared_ptr<DeviceRuntime> Runtime() {
  return MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
}

TEST_CASE("a driver that is there is described", "[device]") {
  Driver();
  const auto runtime = Runtime();
  CHECK(runtime->available());
  CHECK_THAT(runtime->Describe(),
             Contains("cuda 12.4") && Contains("2 device(s)"));
}

TEST_CASE(
    "copies run in the device's context, on the caller's stream, and "
    "are waited for",
    "[device]") {
  StandInState& driver = Driver();
  const auto runtime = Runtime();
  std::string device = "on the device";
  std::string host(device.size(), '?');
  CHECK(runtime
            ->CopyToHost(host.data(), device.data(), host.size(), kSecond,
                         kStream)
            .ok());
  CHECK(host == device);
  CHECK(driver.last_context == &driver.retained[1]);
  CHECK(driver.last_stream == reinterpret_cast<void*>(kStream));
  CHECK(driver.synchronized_stream == driver.last_stream);

  host.assign(host.size(), 'h');
  driver.synchronized_stream = nullptr;
  CHECK(runtime
            ->CopyToDevice(device.data(), host.data(), host.size(),
                           {.type = DeviceType::kCuda, .index = 0}, kStream)
            .ok());
  CHECK(device == host);
  CHECK(driver.last_context == &driver.retained[0]);
  CHECK(driver.synchronized_stream == driver.last_stream);
  CHECK(driver.pushed == 0);
}

TEST_CASE("a context is retained once a device and released in the end",
          "[device]") {
  StandInState& driver = Driver();
  auto runtime = Runtime();
  std::string a(8, 'a');
  std::string b(8, 'b');
  for (int i = 0; i < 3; ++i) {
    CHECK(runtime->CopyToHost(a.data(), b.data(), 8, kSecond, 0).ok());
  }
  CHECK(driver.retained[0] == 0);
  CHECK(driver.retained[1] == 1);
  runtime.reset();
  CHECK(driver.retained[1] == 0);
}

TEST_CASE("each call that fails is named, with the driver's text", "[device]") {
  struct Case {
    StandInCall call;
    const char* name;
  };
  for (const Case& test : {Case{kStandInDeviceGet, "cuDeviceGet"},
                           Case{kStandInRetain, "cuDevicePrimaryCtxRetain"},
                           Case{kStandInPush, "cuCtxPushCurrent"},
                           Case{kStandInToHost, "cuMemcpyDtoHAsync"},
                           Case{kStandInSynchronize, "cuStreamSynchronize"},
                           Case{kStandInPop, "cuCtxPopCurrent"}}) {
    for (int error : {700, 4711}) {
      INFO(test.name << " fails with " << error);
      StandInState& driver = Driver();
      const auto runtime = Runtime();
      driver.failing_call = test.call;
      driver.error = error;
      std::string a(8, 'a');
      std::string b(8, 'b');
      const Status status =
          runtime->CopyToHost(a.data(), b.data(), 8, kSecond, kStream);
      CHECK(status.code() == absl::StatusCode::kUnknown);
      CHECK_THAT(std::string(Message(status)),
                 Contains(test.name) && Contains(std::to_string(error)) &&
                     Contains(error == 700 ? "illegal memory access"
                                           : "unknown CUDA error"));
      CHECK(driver.pushed == 0);
      // What failed once is tried again.
      driver.failing_call = kStandInNone;
      CHECK(runtime->CopyToHost(a.data(), b.data(), 8, kSecond, kStream).ok());
    }
  }
}

TEST_CASE("a copy to the device that fails is named", "[device]") {
  StandInState& driver = Driver();
  const auto runtime = Runtime();
  driver.failing_call = kStandInToDevice;
  driver.error = 700;
  std::string a(8, 'a');
  const Status status =
      runtime->CopyToDevice(a.data(), a.data(), 8, kSecond, kStream);
  CHECK_THAT(std::string(Message(status)), Contains("cuMemcpyHtoDAsync"));
}

TEST_CASE("a device that is not there, or not CUDA, is an error", "[device]") {
  Driver();
  const auto runtime = Runtime();
  std::string a(8, 'a');
  CHECK_THAT(
      std::string(Message(runtime->CopyToHost(
          a.data(), a.data(), 8, {.type = DeviceType::kCuda, .index = 7}, 0))),
      Contains("cuDeviceGet"));
  CHECK(runtime->CopyToHost(a.data(), a.data(), 8, {}, 0).code() ==
        absl::StatusCode::kInvalidArgument);
}

/// Checks that there is no runtime, for a reason that holds `reason`.
void CheckAbsent(const std::shared_ptr<DeviceRuntime>& runtime,
                 const std::string& reason) {
  CHECK_FALSE(runtime->available());
  CHECK_THAT(runtime->Describe(), Contains("none: ") && Contains(reason));
  std::string a(8, 'a');
  for (const Status& status :
       {runtime->CopyToHost(a.data(), a.data(), 8, kSecond, 0),
        runtime->CopyToDevice(a.data(), a.data(), 8, kSecond, 0)}) {
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(Message(status)), Contains(reason));
  }
}

TEST_CASE("no library, no driver: copies say why", "[device]") {
  CheckAbsent(MakeCudaRuntimeFrom("libcuda-of-nobody.so.1"),
              "libcuda-of-nobody.so.1 not found");
}

TEST_CASE("a library that lacks a symbol is no driver", "[device]") {
  CheckAbsent(MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER_THAT_LACKS),
              "lacks cuMemcpyHtoDAsync_v2");
}

TEST_CASE("a driver without devices, or that does not start, is none",
          "[device]") {
  StandInState& driver = Driver();
  driver.device_count = 0;
  CheckAbsent(Runtime(), "no device");
  driver.device_count = 2;
  driver.error = 100;
  for (StandInCall call : {kStandInInit, kStandInDeviceCount}) {
    driver.failing_call = call;
    CheckAbsent(Runtime(), "no device");
  }
}

TEST_CASE("the runtime of this machine is there or says why not", "[device]") {
  const auto runtime = MakeCudaRuntime();
  CHECK(runtime->available() ==
        (runtime->Describe().find("none: ") == std::string::npos));
}

}  // namespace
}  // namespace dcp
