#include "device/numa_node.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "device/stand_in.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

/// What Linux says of a host, and of the stand-in's second device.
struct Host {
  Host(const std::string& nodes, const std::string& of_device) {
    Write("/devices/system/node", "online", nodes);
    Write("/bus/pci/devices/0000:ab:01.0", "numa_node", of_device);
  }

  void Write(const std::string& folder, const std::string& name,
             const std::string& text) const {
    std::filesystem::create_directories(sysfs.path() + folder);
    std::ofstream(sysfs.path() + folder + "/" + name) << text << "\n";
  }

  std::optional<int> Node() const {
    return NumaNodeOfPciDevice("0000:AB:01.0", sysfs.path());
  }

  const testing::TempDirectory sysfs;
};

TEST_CASE("a device's node is known on a host with several", "[device]") {
  CHECK(Host("0-1", "1").Node() == 1);
  CHECK(Host("0-3", "0").Node() == 0);
  CHECK(Host("0,8", "8").Node() == 8);
  CHECK(Host("0-1", "-1").Node() == std::nullopt);
  CHECK(Host("0", "0").Node() == std::nullopt);
  CHECK(NumaNodeOfPciDevice("0000:cd:00.0", Host("0-1", "1").sysfs.path()) ==
        std::nullopt);
  CHECK(NumaNodeOfPciDevice("0000:ab:01.0", "/nowhere") == std::nullopt);
}

TEST_CASE("the CUDA runtime tells a device's node", "[device]") {
  const Host host("0-1", "1");
  StandInState& driver = Driver();
  const auto runtime =
      MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER, host.sysfs.path());
  CHECK(runtime->HostNode(kSecond) == 1);
  CHECK(runtime->HostNode({.type = DeviceType::kCuda, .index = 0}) ==
        std::nullopt);
  CHECK(runtime->HostNode({.type = DeviceType::kCuda, .index = 7}) ==
        std::nullopt);
  driver.failing_call = kStandInBusId;
  driver.error = 700;
  CHECK(runtime->HostNode(kSecond) == std::nullopt);

  Driver(DCP_STAND_IN_DRIVER_OLD);
  const auto old =
      MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER_OLD, host.sysfs.path());
  CHECK(old->HostNode(kSecond) == std::nullopt);
  CHECK(MakeNoDeviceRuntime()->HostNode(kSecond) == std::nullopt);
}

}  // namespace
}  // namespace dcp
