// What several ranks of a host need of a checkpoint is read by one of them and
// taken by all from its memory. The protocol:
//
// 1. Before a load reads, its ranks tell the coordinator what bytes they need
//    and where their window is: an empty segment of shared memory. It gives the
//    ranks of one host that load the same directory, by the same protocol, what
//    all of them said (FormPools); they are the members of a pool. From that
//    all work out the same pieces: who reads which, in which order, and who
//    takes it (DividePool).
// 2. A member opens the others' windows through procfs. If it cannot, it leaves
//    at once and reads by itself; the others see that.
// 3. The reader of a piece waits until the piece that was in its slot before,
//    slot_count() earlier, was taken by all (AwaitRoom), reads it there, checks
//    it and publishes it. The takers copy it to where it belongs and release
//    it. Both go through the pieces in the same order, so the first piece that
//    somebody waits for has room, whoever is slow: nobody waits in a circle.
// 4. What could not be read, or does not match the sidecar, is published as
//    that: each taker reads it by itself, so that it finds the error that it
//    would have found alone, with the names of its own keys. Without a sidecar
//    nobody knows of damage before an item is whole: who took it from a piece
//    checks it as it would its own, and has its error at once.
// 5. So nobody depends on another. A reader that brings nothing for a while
//    is no longer waited for, and one whose takers take nothing as long ends:
//    what is left each reads by itself. That a rank is dead or hangs is for the
//    transport to tell.
// 6. A slot is written again only when all its takers have released it or left;
//    who leaves touches none any more.

#include "storage/pool_member.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/guarded.h"

namespace dcp {
namespace {

using std::chrono::steady_clock;

// Pieces that all members keep, so that a host with many ranks is not full of
// them, and a rank, of which they are counted as memory, keeps within what a
// load may add. What is in flight from one disk is half of it.
constexpr size_t kSlotsOfAll = 28;
constexpr size_t kMinSlots = 2;
constexpr auto kSlice = std::chrono::milliseconds(50);

/// Since when nothing has rung.
class Quiet {
 public:
  explicit Quiet(std::chrono::milliseconds patience) : patience_(patience) {}

  bool IsTooLong(uint32_t value) {
    const auto now = steady_clock::now();
    if (value != value_) {
      value_ = value;
      since_ = now;
    }
    return now - since_ > patience_;
  }

 private:
  const std::chrono::milliseconds patience_;
  uint32_t value_ = 0;
  steady_clock::time_point since_ = steady_clock::now();
};

}  // namespace

StatusOr<std::unique_ptr<PoolMember>> PoolMember::Make(const PoolNeeds& needs,
                                                       const Options& options) {
  const std::string place = PoolPlace(options.directory);
  if (place.empty()) return NotFound("procfs does not name this host");
  DCP_ASSIGN_OR_RETURN(auto own, PoolWindow::Make());
  Options usable = options;
  usable.max_slots =
      std::clamp(options.max_slots, kMinSlots, PoolBoard::kMaxSlots);
  std::unique_ptr<PoolMember> member(new PoolMember(std::move(own), usable));
  member->offer_ = SerializeOffer(place, {.window = member->own_->address(),
                                          .max_slots = usable.max_slots,
                                          .needs = needs});
  return member;
}

PoolMember::~PoolMember() { Leave(); }

Status PoolMember::Join(std::string_view pool) {
  const Status joined = Guarded([&] { return JoinMembers(pool); });
  if (!joined.ok()) {
    division_ = {};
    Leave();
  }
  return joined;
}

Status PoolMember::JoinMembers(std::string_view message) {
  DCP_ASSIGN_OR_RETURN(Pool pool, ParsePool(message));
  number_ = pool.number;
  std::vector<PoolNeeds> needs;
  needs.reserve(pool.members.size());
  for (PoolOffer& member : pool.members) {
    needs.push_back(std::move(member.needs));
  }
  division_ = DividePool(needs);
  if (division_.pieces.empty()) return absl::OkStatus();
  return OpenWindows(pool.members);
}

Status PoolMember::OpenWindows(std::span<const PoolOffer> members) {
  is_late_ = std::make_unique<std::atomic<bool>[]>(members.size());
  std::vector<PoolWindow*> windows(members.size());
  const size_t share = std::max(kMinSlots, kSlotsOfAll / members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    windows[i] = own_.get();
    if (i != number_) {
      DCP_ASSIGN_OR_RETURN(auto window, PoolWindow::Open(members[i].window));
      windows[i] = window.get();
      opened_.push_back(std::move(window));
    }
    const size_t slots = std::clamp(members[i].max_slots, kMinSlots, share);
    DCP_RETURN_IF_ERROR(windows[i]->SetSlots(
        std::min(slots, division_.piece_counts[i]), division_.piece_nbytes));
  }
  windows_ = std::move(windows);
  return absl::OkStatus();
}

StatusOr<bool> PoolMember::Await(const PoolPiece& piece,
                                 const std::function<Status()>& proceed) {
  PoolBoard& board = windows_[piece.reader]->board();
  const PoolBoard::Slot& slot = windows_[piece.reader]->SlotOf(piece.number);
  const uint64_t wanted = 2 * (uint64_t{piece.number} + 1);
  Quiet quiet(options_.patience);
  while (true) {
    const uint32_t seen = board.published.value();
    const bool has_ended = board.has_ended.load(std::memory_order_acquire) != 0;
    const uint64_t content = slot.content.load(std::memory_order_acquire);
    if (content == wanted) return true;
    if (content > wanted) {
      // It failed; or was given up and came later than the one after it.
      if (content == wanted + 1) Release(piece);
      return false;
    }
    if (has_ended || is_late_[piece.reader]) return false;
    if (quiet.IsTooLong(seen)) is_late_[piece.reader] = true;
    DCP_RETURN_IF_ERROR(proceed());
    board.published.Wait(seen, kSlice);
  }
}

std::span<const std::byte> PoolMember::BytesOf(const PoolPiece& piece) const {
  return windows_[piece.reader]
      ->MemoryOf(piece.number)
      .first(static_cast<size_t>(piece.read_end - piece.begin));
}

void PoolMember::Release(const PoolPiece& piece) {
  PoolWindow& window = *windows_[piece.reader];
  window.SlotOf(piece.number)
      .takers.fetch_and(~(uint64_t{1} << number_), std::memory_order_acq_rel);
  window.board().taken.Ring();
}

bool PoolMember::AwaitRoom(const PoolPiece& piece) {
  PoolBoard& board = own_->board();
  const PoolBoard::Slot& slot = own_->SlotOf(piece.number);
  // Another thread may still read the piece that comes before in the slot.
  const size_t slots = own_->slot_count();
  const uint64_t published =
      piece.number < slots ? 0 : 2 * (uint64_t{piece.number - slots} + 1);
  Quiet quiet(options_.patience);
  while (board.has_ended.load(std::memory_order_acquire) == 0) {
    const uint32_t seen = board.taken.value();
    const bool is_over =
        slot.content.load(std::memory_order_acquire) >= published;
    uint64_t takers = slot.takers.load(std::memory_order_acquire);
    for (size_t member = 0; member < windows_.size(); ++member) {
      if (HasLeft(member)) takers &= ~(uint64_t{1} << member);
    }
    if (is_over && takers == 0) return true;
    if (quiet.IsTooLong(seen)) return false;
    board.taken.Wait(seen, kSlice);
  }
  return false;
}

std::span<std::byte> PoolMember::RoomOf(const PoolPiece& piece) const {
  return own_->MemoryOf(piece.number)
      .first(static_cast<size_t>(piece.read_end - piece.begin));
}

void PoolMember::Publish(const PoolPiece& piece, Outcome outcome) {
  PoolBoard::Slot& slot = own_->SlotOf(piece.number);
  slot.takers.store(piece.takers, std::memory_order_relaxed);
  slot.content.store(
      2 * (uint64_t{piece.number} + 1) + (outcome == Outcome::kFailed ? 1 : 0),
      std::memory_order_release);
  own_->board().published.Ring();
}

void PoolMember::EndReading() {
  own_->board().has_ended.store(1, std::memory_order_release);
  own_->board().published.Ring();
  own_->board().taken.Ring();  // a thread of ours may wait for room
}

bool PoolMember::HasLeft(size_t member) const {
  return windows_[member]->board().has_left.load(std::memory_order_acquire) !=
         0;
}

void PoolMember::Leave() {
  EndReading();
  own_->board().has_left.store(1, std::memory_order_release);
  for (PoolWindow* window : windows_) window->board().taken.Ring();
}

}  // namespace dcp
