// RecordTransport: ranks that share nothing but a directory.

#ifndef DCP_SAVER_RECORD_TRANSPORT_H_
#define DCP_SAVER_RECORD_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "dcp/transport.h"
#include "storage/rank_records.h"

namespace dcp {

struct RecordTransportOptions {
  /// Is there already.
  std::string directory;
  std::string session_id;
  int rank = 0;
  int world_size = 1;
  int coordinator = 0;
  /// Of a collective.
  Clock::Duration timeout = std::chrono::minutes(30);
  /// A rank that shows no life for this long is gone.
  Clock::Duration patience = std::chrono::seconds(15);
};

/// See record_transport.cc for the protocol. A rank is alive while its
/// transport exists; one that has not begun counts as gone, too.
class RecordTransport final : public Transport {
 public:
  /// Shows this rank's first sign of life.
  static StatusOr<std::unique_ptr<RecordTransport>> Open(
      std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
      const RecordTransportOptions& options);
  ~RecordTransport() override;

  int rank() const override { return options_.rank; }
  int world_size() const override { return options_.world_size; }
  int coordinator() const override { return options_.coordinator; }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override;
  StatusOr<std::string> Scatter(std::span<const std::string> messages) override;
  StatusOr<std::string> Broadcast(std::string_view message) override;
  Status AwaitAll(std::string_view phase) override;
  Status Check() override;

  /// The rank that is known to be gone; this one if none is.
  int failed_rank() const;

 private:
  /// A sign of life, and since when it is the same, by `looked_`.
  struct Sign {
    std::string content;
    Clock::Duration since{0};
  };

  RecordTransport(std::shared_ptr<FileSystem> file_system,
                  std::shared_ptr<Clock> clock,
                  const RecordTransportOptions& options);

  bool is_coordinator() const { return rank() == coordinator(); }
  /// Names this call, the same on all ranks, with the rank that it is from or
  /// for.
  std::string TagOf(int rank) const;
  std::string CallTag() const;
  std::vector<std::string> TagsOfOthers() const;

  /// Waits until all `tags` are there.
  Status Await(const std::vector<std::string>& tags, Clock::Duration timeout);
  StatusOr<std::string> Take(const std::string& tag);

  // The thread that shows life, and looks for that of others.
  void Tend();
  Status ShowLife();
  void Look();
  void LookAtSign(int rank, const std::set<std::string>& tags);
  void Lose(int rank, const std::string& why);

  const std::shared_ptr<FileSystem> file_system_;
  const std::shared_ptr<Clock> clock_;
  const RecordTransportOptions options_;
  RankRecords records_;
  int calls_ = 0;
  std::atomic<bool> stops_ = false;
  mutable Mutex mutex_;
  Status failure_ ABSL_GUARDED_BY(mutex_);
  int failed_rank_ ABSL_GUARDED_BY(mutex_);
  // Of the thread.
  int64_t beats_ = 0;
  Clock::Duration looked_{0};  ///< time in which this process was at work
  std::map<int, Sign> signs_;
  std::thread thread_;
};

}  // namespace dcp

#endif  // DCP_SAVER_RECORD_TRANSPORT_H_
