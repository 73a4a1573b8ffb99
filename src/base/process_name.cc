#include "base/process_name.h"

#include <unistd.h>

#include <array>

namespace dcp {

std::string ProcessName() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return "process " + std::to_string(::getpid()) + " on host " + host.data();
}

}  // namespace dcp
