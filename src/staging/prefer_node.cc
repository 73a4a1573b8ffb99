#include "staging/prefer_node.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>

namespace dcp {
namespace {

// linux/mempolicy.h, which not every system has.
constexpr int kPreferred = 1;        // MPOL_PREFERRED
constexpr unsigned kMove = 1U << 1;  // MPOL_MF_MOVE
constexpr size_t kMaxNodes = 1024;
constexpr size_t kBitsOfWord = sizeof(unsigned long) * CHAR_BIT;

}  // namespace

void PreferNode(std::span<std::byte> memory, int node) {
  const auto number = static_cast<size_t>(node);
  if (number >= kMaxNodes) return;
  std::array<unsigned long, kMaxNodes / kBitsOfWord> nodes{};
  nodes[number / kBitsOfWord] = 1UL << number % kBitsOfWord;
  // The kernel takes one bit less than it is told (mbind(2), BUGS).
  (void)::syscall(SYS_mbind, memory.data(), memory.size(), kPreferred,
                  nodes.data(), kMaxNodes + 1, kMove);
}

}  // namespace dcp
