// TestPages: an arena's memory, counted, refused or held back.

#ifndef DCP_TESTS_STAGING_TEST_PAGES_H_
#define DCP_TESTS_STAGING_TEST_PAGES_H_

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "staging/host_arena.h"
#include "staging/huge_pages.h"

namespace dcp {

/// What a TestPages does and did; outlives it.
struct PagesRecord {
  std::atomic<int64_t> maps{0};
  std::atomic<int64_t> mapped{0};  ///< bytes
  std::atomic<int64_t> most_mapped{0};
  /// Larger requests are refused.
  std::atomic<size_t> max_map{SIZE_MAX};
  /// Called before each Map; set before there is any.
  std::function<void()> on_map;
  /// Called in the place of each Prefer; set before there is any.
  std::function<void(std::span<std::byte> memory, int node)> on_prefer =
      [](std::span<std::byte>, int) {};
};

class TestPages final : public PageSource {
 public:
  explicit TestPages(PagesRecord& record) : record_(record) {}

  StatusOr<std::span<std::byte>> Map(size_t nbytes) override {
    if (record_.on_map) record_.on_map();
    if (nbytes > record_.max_map) {
      return ErrnoToStatus(ENOMEM, {.op = "mmap"});
    }
    ++record_.maps;
    record_.mapped += static_cast<int64_t>(nbytes);
    record_.most_mapped =
        std::max(record_.most_mapped.load(), record_.mapped.load());
    return MapHugePages(nbytes);
  }
  void Unmap(std::span<std::byte> memory) override {
    record_.mapped -= static_cast<int64_t>(memory.size());
    munmap(memory.data(), memory.size());
  }
  void Prefer(std::span<std::byte> memory, int node) override {
    record_.on_prefer(memory, node);
  }

 private:
  PagesRecord& record_;
};

}  // namespace dcp

#endif  // DCP_TESTS_STAGING_TEST_PAGES_H_
