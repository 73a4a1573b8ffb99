#include "allocation/failing_resources.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DCP_SANITIZED 1
#else
#define DCP_SANITIZED 0
#endif

namespace dcp::testing {
namespace {

constexpr int kNone = -1;

std::atomic<int> refused{kNone};
std::atomic<int64_t> left{0};  // requests until the one that fails, with it
std::atomic<int64_t> made{0};  // requests
std::atomic<int64_t> live{0};

bool IsRefused(Resource resource) {
  if (refused.load(std::memory_order_relaxed) != static_cast<int>(resource)) {
    return false;
  }
  ++made;
  return --left == 0;
}

}  // namespace

std::string ToString(Resource resource) {
  constexpr std::array kNames = {"allocation", "mmap", "thread"};
  return kNames.at(static_cast<size_t>(resource));
}

std::vector<Resource> RefusableResources() {
  if (DCP_SANITIZED != 0) return {Resource::kMemory};
  return {Resource::kMemory, Resource::kMapping, Resource::kThread};
}

RefuseOne::RefuseOne(Resource resource, int64_t n) {
  left = n;
  made = 0;
  refused = static_cast<int>(resource);
}

RefuseOne::~RefuseOne() { refused = kNone; }

int64_t RefuseOne::requests() const { return made; }

int64_t LiveAllocations() { return live; }

}  // namespace dcp::testing

using dcp::testing::IsRefused;
using dcp::testing::Resource;

#if DCP_SANITIZED

namespace {
void* Get(size_t nbytes) { return std::malloc(nbytes); }
void* GetAligned(size_t nbytes, size_t alignment) {
  return std::aligned_alloc(alignment,
                            (nbytes + alignment - 1) / alignment * alignment);
}
}  // namespace

#else

extern "C" {
// glibc's own, under the names that it exports for replacements like these.
void* __libc_malloc(size_t nbytes);
void* __libc_calloc(size_t count, size_t nbytes);
void* __libc_realloc(void* memory, size_t nbytes);
void* __libc_memalign(size_t alignment, size_t nbytes);

void* malloc(size_t nbytes) noexcept {
  if (!IsRefused(Resource::kMemory)) return __libc_malloc(nbytes);
  errno = ENOMEM;
  return nullptr;
}
void* calloc(size_t count, size_t nbytes) noexcept {
  if (!IsRefused(Resource::kMemory)) return __libc_calloc(count, nbytes);
  errno = ENOMEM;
  return nullptr;
}
void* realloc(void* memory, size_t nbytes) noexcept {
  if (!IsRefused(Resource::kMemory)) return __libc_realloc(memory, nbytes);
  errno = ENOMEM;
  return nullptr;
}

void* mmap(void* address, size_t nbytes, int protection, int flags, int fd,
           off_t offset) noexcept {
  if (IsRefused(Resource::kMapping)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(
      ::syscall(SYS_mmap, address, nbytes, protection, flags, fd, offset));
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*run)(void*), void* argument) noexcept {
  if (IsRefused(Resource::kThread)) return EAGAIN;
  static const auto create = reinterpret_cast<decltype(&pthread_create)>(
      ::dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, run, argument);
}
}

namespace {
void* Get(size_t nbytes) { return __libc_malloc(nbytes); }
void* GetAligned(size_t nbytes, size_t alignment) {
  return __libc_memalign(alignment, nbytes);
}
}  // namespace

#endif

void* operator new(size_t nbytes) {
  void* memory = IsRefused(Resource::kMemory) ? nullptr : Get(nbytes);
  if (memory == nullptr) throw std::bad_alloc();
  ++dcp::testing::live;
  return memory;
}
void* operator new(size_t nbytes, std::align_val_t alignment) {
  void* memory = IsRefused(Resource::kMemory)
                     ? nullptr
                     : GetAligned(nbytes, static_cast<size_t>(alignment));
  if (memory == nullptr) throw std::bad_alloc();
  ++dcp::testing::live;
  return memory;
}
void* operator new(size_t nbytes, const std::nothrow_t&) noexcept {
  void* memory = IsRefused(Resource::kMemory) ? nullptr : Get(nbytes);
  if (memory != nullptr) ++dcp::testing::live;
  return memory;
}
void* operator new[](size_t nbytes) { return operator new(nbytes); }
void* operator new[](size_t nbytes, std::align_val_t alignment) {
  return operator new(nbytes, alignment);
}
void* operator new[](size_t nbytes, const std::nothrow_t& tag) noexcept {
  return operator new(nbytes, tag);
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) --dcp::testing::live;
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }
void operator delete(void* memory, std::align_val_t) noexcept {
  operator delete(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  operator delete(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  operator delete(memory);
}
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, size_t) noexcept {
  operator delete(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  operator delete(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  operator delete(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  operator delete(memory);
}
