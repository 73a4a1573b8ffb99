// PreferNode: memory that lies at one NUMA node.

#ifndef DCP_STAGING_PREFER_NODE_H_
#define DCP_STAGING_PREFER_NODE_H_

#include <cstddef>
#include <span>

namespace dcp {

/// Has the system take the pages of `memory`, whole pages, from NUMA node
/// `node` as long as that has some, and move those there that are elsewhere. A
/// hint: where the system does not know of nodes, or does not let this process
/// choose (containers may forbid it), pages stay with who touches them first.
void PreferNode(std::span<std::byte> memory, int node);

}  // namespace dcp

#endif  // DCP_STAGING_PREFER_NODE_H_
