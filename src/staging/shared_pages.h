// SharedPages: an arena's memory that another process can map as well.

#ifndef DCP_STAGING_SHARED_PAGES_H_
#define DCP_STAGING_SHARED_PAGES_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "dcp/status.h"
#include "io/fork_closed_fd.h"
#include "staging/host_arena.h"
#include "staging/prefer_node.h"

namespace dcp {

/// One segment, one descriptor (memfd_create(2)). Its addresses are reserved at
/// once, so that a place in memory is a place in the segment, whatever is
/// mapped in between. Not inherited by forked children.
class SharedPages final : public PageSource {
 public:
  /// Of `max_nbytes` at most, in whole huge pages.
  /// \error kResourceExhausted  no addresses, no descriptor, or more than a
  ///     file may have (ulimit -f)
  static StatusOr<std::unique_ptr<SharedPages>> Make(
      size_t max_nbytes = NbytesOfArena());
  ~SharedPages() override;

  /// Pages are there when this returns: who is the first to touch one that the
  /// system cannot give would be killed.
  StatusOr<std::span<std::byte>> Map(size_t nbytes) override;
  void Unmap(std::span<std::byte> memory) override;
  void Prefer(std::span<std::byte> memory, int node) override {
    PreferNode(memory, node);
  }

  int fd() const { return fd_.get(); }
  /// Of a place in mapped memory, in the segment.
  int64_t OffsetOf(const void* place) const {
    return static_cast<const std::byte*>(place) - reserved_.data();
  }

 private:
  /// Four times the memory there is: old and new, with gaps in between.
  static size_t NbytesOfArena();

  SharedPages(UniqueFd fd, std::span<std::byte> reserved);

  /// Where `nbytes` fit between what is mapped.
  std::optional<size_t> FindGap(size_t nbytes) const;
  void Forget(size_t begin, size_t end);

  const pid_t owner_;
  const ForkClosedFd fd_;
  const std::span<std::byte> reserved_;
  std::map<size_t, size_t> mapped_;  // begin -> end, offsets
};

}  // namespace dcp

#endif  // DCP_STAGING_SHARED_PAGES_H_
