// FailingResources: memory, mappings and threads that the system refuses when a
// test says so. Linked into a program, it takes the place of operator new, and,
// without sanitizers, of malloc, mmap and pthread_create.

#ifndef DCP_TESTS_ALLOCATION_FAILING_RESOURCES_H_
#define DCP_TESTS_ALLOCATION_FAILING_RESOURCES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dcp::testing {

enum class Resource : uint8_t {
  kMemory,   ///< operator new, malloc and its like
  kMapping,  ///< mmap
  kThread,   ///< pthread_create
};

std::string ToString(Resource resource);

/// Those that can be refused in this build.
std::vector<Resource> RefusableResources();

/// While it lives, the n-th request for `resource` from now on fails, of all
/// threads together; 0: none does. One at a time.
class RefuseOne {
 public:
  RefuseOne(Resource resource, int64_t n);
  ~RefuseOne();
  RefuseOne(const RefuseOne&) = delete;
  RefuseOne& operator=(const RefuseOne&) = delete;

  int64_t requests() const;
};

/// What operator new has given and operator delete not taken back.
int64_t LiveAllocations();

}  // namespace dcp::testing

#endif  // DCP_TESTS_ALLOCATION_FAILING_RESOURCES_H_
