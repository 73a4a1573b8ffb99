// FreeMemory: empties a container and frees what it held.

#ifndef DCP_BASE_FREE_MEMORY_H_
#define DCP_BASE_FREE_MEMORY_H_

namespace dcp {

/// Of a vector or string, `= {}` and clear() keep the memory, and so does the
/// assignment of an empty string.
template <typename Container>
void FreeMemory(Container* container) {
  Container().swap(*container);
}

}  // namespace dcp

#endif  // DCP_BASE_FREE_MEMORY_H_
