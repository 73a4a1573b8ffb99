#include "device/numa_node.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>

namespace dcp {

std::optional<int> NumaNodeOfPciDevice(std::string bus_id,
                                       const std::string& sysfs) {
  // A list of ranges, "0-1" say (cpuset(7), List format).
  std::string nodes;
  std::ifstream(sysfs + "/devices/system/node/online") >> nodes;
  if (nodes.find_first_of("-,") == std::string::npos) return std::nullopt;
  std::transform(
      bus_id.begin(), bus_id.end(), bus_id.begin(),
      [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  int node = -1;  // as Linux says where the firmware does not
  std::ifstream(sysfs + "/bus/pci/devices/" + bus_id + "/numa_node") >> node;
  return node < 0 ? std::nullopt : std::optional(node);
}

}  // namespace dcp
