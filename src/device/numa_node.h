// NumaNodeOfPciDevice: where on the host a device is.

#ifndef DCP_DEVICE_NUMA_NODE_H_
#define DCP_DEVICE_NUMA_NODE_H_

#include <optional>
#include <string>

namespace dcp {

/// The number of the NUMA node that the device at `bus_id` ("0000:3B:00.0", in
/// any case) is attached to, as Linux tells it below `sysfs`. nullopt: the host
/// has one node, or does not say.
std::optional<int> NumaNodeOfPciDevice(std::string bus_id,
                                       const std::string& sysfs);

}  // namespace dcp

#endif  // DCP_DEVICE_NUMA_NODE_H_
