// SaverProcess: a Saver from the inside.

#ifndef DCP_CHECKPOINT_SAVER_PROCESS_H_
#define DCP_CHECKPOINT_SAVER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "checkpoint/save_answer.h"
#include "checkpoint/saver_channel.h"
#include "dcp/saver.h"
#include "io/fork_closed_fd.h"
#include "staging/host_arena.h"
#include "staging/shared_pages.h"

namespace dcp {

/// Descriptors of the program.
inline constexpr int kSaverSocketFd = 3;
inline constexpr int kSaverMemoryFd = 4;

/// What an order's sender wants to know, and to say.
struct OrderWatch {
  /// Called now and then; an error cancels the order, whose answer then comes.
  std::function<Status()> ask;
  /// Called once the order is the saver's, whatever becomes of this process.
  std::function<void()> handed_over;
};

/// The one Saver there is.
class SaverProcess final : public Saver {
 public:
  SaverProcess(const SaverOptions& options, std::unique_ptr<SharedPages> pages);
  ~SaverProcess() override;

  Status Start() override;
  std::optional<int> process_id() override;
  int64_t memory_nbytes() const override { return arena_->nbytes(); }
  void ReleaseMemory() override { arena_->ReleaseFree(); }

  const SaverOptions& options() const { return options_; }
  /// Outlives its leases if they keep it.
  const std::shared_ptr<HostArena>& arena() const { return arena_; }
  int64_t OffsetOf(const void* place) const { return pages_.OffsetOf(place); }

  /// Has the saver carry out `order` (SaveOrder) after those before it, and
  /// waits for its answer.
  /// \error kUnavailable  the saver ended, or showed no life; it is gone then
  StatusOr<SaveAnswer> Carry(std::string_view order, const OrderWatch& watch);

 private:
  /// One process of the program.
  struct Running {
    Running(pid_t process, UniqueFd ours)
        : pid(process), socket(std::move(ours)), channel(socket.get()) {}
    const pid_t pid;
    const ForkClosedFd socket;
    SaverChannel channel;
  };

  StatusOr<std::shared_ptr<Running>> RequireRunning();
  StatusOr<std::shared_ptr<Running>> Spawn();
  StatusOr<SaveAnswer> AwaitAnswer(Running& running, const OrderWatch& watch);
  /// Ends what may be left of it; says how it ended.
  Status GiveUp(const Running& running, const Status& why);

  const pid_t owner_;
  const SaverOptions options_;
  const SharedPages& pages_;  // the arena's
  const std::shared_ptr<HostArena> arena_;
  Mutex turn_;  // of who has an order carried out
  Mutex mutex_;
  std::shared_ptr<Running> running_ ABSL_GUARDED_BY(mutex_);
};

/// The umask of this process, without changing it.
mode_t CurrentUmask();

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVER_PROCESS_H_
