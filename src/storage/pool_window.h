// PoolWindow: memory that a member of a pool reads into, and the others map.

#ifndef DCP_STORAGE_POOL_WINDOW_H_
#define DCP_STORAGE_POOL_WINDOW_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "dcp/status.h"
#include "staging/shared_bell.h"
#include "staging/shared_pages.h"

namespace dcp {

/// What the members tell each other in a window. Zeros to begin with.
struct PoolBoard {
  static constexpr size_t kMaxSlots = 64;

  struct Slot {
    /// Of the piece in it: 2 * (number + 1), and 1 if it could not be read.
    std::atomic<uint64_t> content{0};
    /// Who has yet to take it: a bit for each member.
    std::atomic<uint64_t> takers{0};
  };

  std::array<char, 32> token{};        ///< of the window
  std::atomic<uint32_t> has_ended{0};  ///< its owner publishes no more
  std::atomic<uint32_t> has_left{0};   ///< its owner takes nothing any more
  SharedBell published;                ///< rung by the owner
  SharedBell taken;                    ///< rung by the others
  std::array<Slot, kMaxSlots> slots{};
};

class PoolWindow {
 public:
  /// An empty window, of this process.
  static StatusOr<std::unique_ptr<PoolWindow>> Make();
  /// That of another process, or of this one.
  /// \error kNotFound, kPermissionDenied, ...  it cannot be mapped here
  static StatusOr<std::unique_ptr<PoolWindow>> Open(std::string_view address);
  ~PoolWindow();
  PoolWindow(const PoolWindow&) = delete;
  PoolWindow& operator=(const PoolWindow&) = delete;

  /// For Open, while this object lives: valid in processes that see this one's
  /// number (PoolPlace).
  std::string address() const;

  /// Gives the window `count` slots; its owner says it, and so does who opened
  /// it: the same.
  /// \error kResourceExhausted  no memory
  Status SetSlots(size_t count, int64_t slot_nbytes);

  PoolBoard& board() { return *board_; }
  PoolBoard::Slot& SlotOf(size_t number) {
    return board_->slots[number % slot_count_];
  }
  /// The memory of the slot of piece `number`; aligned to pages.
  std::span<std::byte> MemoryOf(size_t number) const;
  size_t slot_count() const { return slot_count_; }

 private:
  PoolWindow() = default;

  std::unique_ptr<SharedPages> pages_;  // of the owner
  UniqueFd fd_;                         // of the others, until SetSlots
  PoolBoard* board_ = nullptr;
  std::span<std::byte> slots_;
  size_t slot_count_ = 0;
  size_t slot_nbytes_ = 0;
};

/// The same for processes of one kernel that see each other's numbers, mean the
/// same files by `directory`, an absolute path, and speak the same protocol.
/// Empty where procfs does not tell.
std::string PoolPlace(std::string_view directory);

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_WINDOW_H_
