// Asynchronous saves of several ranks, one after the other in the calls and
// beside each other from then on.

#ifndef DCP_TESTS_CHECKPOINT_ASYNC_RANK_SAVES_H_
#define DCP_TESTS_CHECKPOINT_ASYNC_RANK_SAVES_H_

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "dcp/async_save.h"

namespace dcp {

struct AsyncRankSaves {
  using SteadyClock = std::chrono::steady_clock;

  /// `entries`, and what they point to, must outlive this. `savers` by rank;
  /// empty: threads save.
  AsyncRankSaves(const AllEntries& entries,
                 const conformance::StorageUnderTest& storage,
                 const std::vector<std::shared_ptr<Saver>>& savers = {}) {
    auto transports = MakeThreadTransports(static_cast<int>(entries.size()),
                                           kRankTimeoutSeconds);
    for (size_t rank = 0; rank < entries.size(); ++rank) {
      const auto span = entries[rank].span();
      const auto begin = SteadyClock::now();
      handles.push_back(AsyncSave(
          std::vector<SaveEntry>(span.begin(), span.end()), nullptr,
          {.writer = storage.make_writer(),
           .transport = std::move(transports[rank])},
          {.staging = {.saver = savers.empty() ? nullptr : savers[rank]}}));
      NoteBlocked(begin);
    }
    for (const auto& handle : handles) {
      const auto begin = SteadyClock::now();
      status.Update(handle->WaitStaged());
      NoteBlocked(begin);
    }
  }

  std::vector<StatusOr<SaveResult>> Wait() {
    std::vector<StatusOr<SaveResult>> results;
    for (const auto& handle : handles) results.push_back(handle->Wait());
    return results;
  }

  std::vector<std::unique_ptr<AsyncSaveHandle>> handles;
  Status status;  ///< of the copies
  /// The longest time that a call took in a trainer's thread.
  std::chrono::milliseconds longest_blocked{0};

 private:
  void NoteBlocked(SteadyClock::time_point begin) {
    longest_blocked = std::max(
        longest_blocked, std::chrono::duration_cast<std::chrono::milliseconds>(
                             SteadyClock::now() - begin));
  }
};

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_ASYNC_RANK_SAVES_H_
