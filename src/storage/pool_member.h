// PoolMember: this rank's place in a pool, see pool_member.cc.

#ifndef DCP_STORAGE_POOL_MEMBER_H_
#define DCP_STORAGE_POOL_MEMBER_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dcp/status.h"
#include "storage/pool_division.h"
#include "storage/pool_messages.h"
#include "storage/pool_window.h"

namespace dcp {

/// Thread-safe from Join on.
class PoolMember {
 public:
  struct Options {
    /// Of the checkpoint, absolute: members of a pool say the same.
    std::string directory = {};
    /// Pieces that this rank keeps for others: at least two,
    /// PoolBoard::kMaxSlots at most.
    size_t max_slots = PoolBoard::kMaxSlots;
    /// How long another rank may do nothing before others go on without it:
    /// longer than it may be busy with bytes that only it needs. The load as a
    /// whole waits for it in any case.
    std::chrono::milliseconds patience = std::chrono::minutes(2);
  };
  static StatusOr<std::unique_ptr<PoolMember>> Make(const PoolNeeds& needs,
                                                    const Options& options);
  /// Leaves.
  ~PoolMember();
  PoolMember(const PoolMember&) = delete;
  PoolMember& operator=(const PoolMember&) = delete;

  /// For FormPools.
  const std::string& offer() const { return offer_; }
  /// Finds the others by what FormPools made for this rank. After an error it
  /// has left, and they know.
  Status Join(std::string_view pool);

  const PoolDivision& division() const { return division_; }
  size_t number() const { return number_; }
  bool Takes(const PoolPiece& piece) const {
    return ((piece.takers >> number_) & 1) != 0;
  }
  /// How many pieces this rank can have read and not been rid of.
  size_t slot_count() const { return own_->slot_count(); }

  /// Waits until `piece` is there. False: its reader will not bring it, or has
  /// brought nothing for long, and this rank has to read it by itself.
  /// \error what `proceed` returns, which is asked now and then
  StatusOr<bool> Await(const PoolPiece& piece,
                       const std::function<Status()>& proceed);
  /// Of a piece that is there, until Release.
  std::span<const std::byte> BytesOf(const PoolPiece& piece) const;
  void Release(const PoolPiece& piece);

  /// Waits until there is room for a piece of which this rank is the reader.
  /// False: for too long somebody has not taken what was there before, or the
  /// reading was ended.
  bool AwaitRoom(const PoolPiece& piece);
  std::span<std::byte> RoomOf(const PoolPiece& piece) const;
  enum class Outcome : uint8_t { kRead, kFailed };
  void Publish(const PoolPiece& piece, Outcome outcome);
  /// This rank publishes no more.
  void EndReading();

 private:
  PoolMember(std::unique_ptr<PoolWindow> own, const Options& options)
      : own_(std::move(own)), options_(options), windows_{own_.get()} {}

  Status JoinMembers(std::string_view message);
  Status OpenWindows(std::span<const PoolOffer> members);
  bool HasLeft(size_t member) const;
  void Leave();

  const std::unique_ptr<PoolWindow> own_;
  const Options options_;
  std::string offer_;
  PoolDivision division_;
  size_t number_ = 0;
  std::vector<PoolWindow*> windows_;  // by member
  std::vector<std::unique_ptr<PoolWindow>> opened_;
  std::unique_ptr<std::atomic<bool>[]> is_late_;  // by member, as a reader
};

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_MEMBER_H_
