#include "staging/prefer_node.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "staging/huge_pages.h"

namespace dcp {
namespace {

// linux/mempolicy.h
constexpr int kPreferred = 1;          // MPOL_PREFERRED
constexpr unsigned long kOfPlace = 2;  // MPOL_F_ADDR

struct Policy {
  int mode = -1;
  std::array<unsigned long, 16> nodes{};

  bool operator==(const Policy&) const = default;
};

Policy PolicyOf(std::span<std::byte> memory) {
  Policy policy;
  REQUIRE(::syscall(SYS_get_mempolicy, &policy.mode, policy.nodes.data(), 1024,
                    memory.data(), kOfPlace) == 0);
  return policy;
}

TEST_CASE("the system is asked for memory at a node", "[staging]") {
  const std::span<std::byte> memory = MapHugePages(4 * kHugePage).value();
  // MPOL_DEFAULT
  if (::syscall(SYS_mbind, memory.data(), memory.size(), 0, nullptr, 0, 0) !=
      0) {
    WARN("NO NUMA NODES TESTED: mbind: " << std::strerror(errno));
    return;
  }
  memory[0] = std::byte{1};
  const Policy before = PolicyOf(memory);
  PreferNode(memory.subspan(0, kPageSize), 5000);  // there is none
  CHECK(PolicyOf(memory) == before);

  PreferNode(memory.subspan(kPageSize), 0);
  CHECK(PolicyOf(memory) == before);
  const Policy after = PolicyOf(memory.subspan(kPageSize));
  CHECK(after.mode == kPreferred);
  CHECK(after.nodes == std::array<unsigned long, 16>{1});
  CHECK(memory[0] == std::byte{1});
  memory.back() = std::byte{2};
  ::munmap(memory.data(), memory.size());
}

}  // namespace
}  // namespace dcp
