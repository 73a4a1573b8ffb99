#include "io/fork_closed_fd.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <utility>

namespace dcp {
namespace {

// Of fixed size and without a lock, because a forked child may only do what is
// async-signal-safe. One save needs one place.
constexpr size_t kSlots = 256;
constexpr int kFree = -1;

std::array<std::atomic<int>, kSlots>& Slots() {
  static std::array<std::atomic<int>, kSlots>* const slots = [] {
    auto* const made = new std::array<std::atomic<int>, kSlots>;
    for (auto& slot : *made) slot.store(kFree);
    return made;
  }();
  return *slots;
}

void CloseInChild() {
  for (auto& slot : Slots()) {
    const int fd = slot.exchange(kFree);
    if (fd != kFree) (void)::close(fd);
  }
}

int Remember(int fd) {
  static const int registered =
      (Slots(), ::pthread_atfork(nullptr, nullptr, &CloseInChild));
  if (registered != 0) return -1;
  for (size_t i = 0; i < kSlots; ++i) {
    int expected = kFree;
    if (Slots()[i].compare_exchange_strong(expected, fd)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

}  // namespace

ForkClosedFd::ForkClosedFd(UniqueFd fd)
    : fd_(std::move(fd)), slot_(Remember(fd_.get())) {}

ForkClosedFd::~ForkClosedFd() {
  if (slot_ < 0) return;
  int expected = fd_.get();
  const bool is_here =
      Slots()[static_cast<size_t>(slot_)].compare_exchange_strong(expected,
                                                                  kFree);
  // In a forked child the number may be another file's by now.
  if (!is_here) (void)fd_.Release();
}

}  // namespace dcp
