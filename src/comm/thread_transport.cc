// Ranks that are threads of one process meet in rounds.
//
// 1. Every collective is one round. A rank leaves its call (method, phase,
//    messages) in the current round; the last one to come closes it and opens
//    the next, so that no rank is ever more than one round ahead.
// 2. A closed round never changes, but for what only one rank takes from it
//    (the coordinator what was gathered, each rank what was scattered to it).
//    Ranks keep it alive by shared_ptr and read it without the lock.
// 3. The first failure (a deadline, a destroyed transport, calls that do not
//    match) is the group's: it ends the open round on all ranks, and every
//    later call. Closed rounds succeed whatever happens afterwards.
//
// The lock is a std::mutex, not an absl::Mutex: distributions ship Abseil
// without ThreadSanitizer's instrumentation, which then sees races here.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "dcp/transport.h"

namespace dcp {
namespace {

enum class Method : uint8_t {
  kNone,  ///< the rank has not come yet
  kGather,
  kScatter,
  kBroadcast,
  kAwaitAll,
};

std::string_view NameOf(Method method) {
  switch (method) {
    case Method::kGather:
      return "Gather";
    case Method::kScatter:
      return "Scatter";
    case Method::kBroadcast:
      return "Broadcast";
    case Method::kAwaitAll:
      return "AwaitAll";
    case Method::kNone:
      break;
  }
  return "nothing";
}

struct Call {
  Method method = Method::kNone;
  std::string phase;                  // of kAwaitAll
  std::vector<std::string> messages;  // what this rank sends

  std::string Describe() const {
    std::string text(NameOf(method));
    return method == Method::kAwaitAll ? text + "(\"" + phase + "\")" : text;
  }
};

/// The calls of all ranks that meet.
struct Round {
  std::vector<Call> calls;  // by rank
  size_t arrived = 0;
  bool closed = false;
};

// The longest timeout, some 30 years, that a clock in nanoseconds can add.
constexpr std::chrono::duration<double> kForever{1e9};

class Group {
 public:
  Group(int world_size, std::chrono::duration<double> timeout)
      : timeout_(std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::min(timeout, kForever))),
        round_(std::make_shared<Round>()) {
    round_->calls.resize(static_cast<size_t>(world_size));
  }

  /// Leaves `call` in the current round and waits until it is closed.
  StatusOr<std::shared_ptr<Round>> Meet(int rank, Call call) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    std::shared_ptr<Round> round = round_;
    const Method method = call.method;
    Join(rank, std::move(call));
    const auto settled = [&] { return round->closed || !failure_.ok(); };
    if (method == Method::kAwaitAll) {
      changed_.wait(lock, settled);
    } else if (!changed_.wait_for(lock, timeout_, settled)) {
      Fail(MakeStatus(absl::StatusCode::kDeadlineExceeded,
                      std::string(NameOf(method)) + " waited " +
                          std::to_string(SecondsOf(timeout_)) + " s for " +
                          MissingRanks(*round)));
    }
    if (round->closed) return round;
    return failure_;
  }

  void Leave(int rank) {
    std::lock_guard<std::mutex> lock(mutex_);
    Fail(MakeStatus(absl::StatusCode::kAborted,
                    "rank " + std::to_string(rank) +
                        " is gone: its transport was destroyed"));
  }

 private:
  static double SecondsOf(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
  }

  static std::string MissingRanks(const Round& round) {
    std::string text = "rank(s)";
    for (size_t rank = 0; rank < round.calls.size(); ++rank) {
      if (round.calls[rank].method == Method::kNone)
        text += " " + std::to_string(rank);
    }
    return text;
  }

  void Fail(Status failure) {
    if (failure_.ok()) failure_ = std::move(failure);
    changed_.notify_all();
  }

  void Join(int rank, Call call) {
    for (size_t other = 0; other < round_->calls.size(); ++other) {
      const Call& theirs = round_->calls[other];
      if (theirs.method == Method::kNone) continue;
      if (theirs.method != call.method || theirs.phase != call.phase) {
        Fail(FailedPrecondition("rank " + std::to_string(rank) + " called " +
                                call.Describe() + " where rank " +
                                std::to_string(other) + " called " +
                                theirs.Describe()));
        return;
      }
      break;  // those that came before agree with one another
    }
    round_->calls[static_cast<size_t>(rank)] = std::move(call);
    if (++round_->arrived == round_->calls.size()) Close();
  }

  void Close() {
    round_->closed = true;
    const size_t world_size = round_->calls.size();
    round_ = std::make_shared<Round>();
    round_->calls.resize(world_size);
    changed_.notify_all();
  }

  const std::chrono::nanoseconds timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, as are the contents of an open round.
  std::shared_ptr<Round> round_;
  Status failure_;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(int rank, int world_size, std::shared_ptr<Group> group)
      : rank_(rank), world_size_(world_size), group_(std::move(group)) {}
  ~ThreadTransport() override { group_->Leave(rank_); }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    DCP_ASSIGN_OR_RETURN(
        const auto round,
        Meet({.method = Method::kGather, .messages = {std::string(message)}}));
    std::vector<std::string> gathered;
    if (rank_ != coordinator()) return gathered;
    gathered.reserve(round->calls.size());
    for (Call& call : round->calls) {
      gathered.push_back(std::move(call.messages[0]));
    }
    return gathered;
  }

  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    DCP_ASSIGN_OR_RETURN(
        const auto round,
        Meet({.method = Method::kScatter,
              .messages = {messages.begin(), messages.end()}}));
    std::vector<std::string>& sent = SentByCoordinator(*round);
    if (sent.size() != static_cast<size_t>(world_size_)) {
      return InvalidArgument("Scatter needs a message for each of " +
                             std::to_string(world_size_) + " ranks, got " +
                             std::to_string(sent.size()));
    }
    return std::move(sent[static_cast<size_t>(rank_)]);
  }

  StatusOr<std::string> Broadcast(std::string_view message) override {
    Call call{.method = Method::kBroadcast};
    if (rank_ == coordinator()) call.messages.emplace_back(message);
    DCP_ASSIGN_OR_RETURN(const auto round, Meet(std::move(call)));
    return SentByCoordinator(*round)[0];
  }

  Status AwaitAll(std::string_view phase) override {
    return Meet({.method = Method::kAwaitAll, .phase = std::string(phase)})
        .status();
  }

 private:
  StatusOr<std::shared_ptr<Round>> Meet(Call call) {
    return group_->Meet(rank_, std::move(call));
  }

  std::vector<std::string>& SentByCoordinator(Round& round) const {
    return round.calls[static_cast<size_t>(coordinator())].messages;
  }

  const int rank_;
  const int world_size_;
  const std::shared_ptr<Group> group_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> MakeThreadTransports(
    int world_size, double timeout_seconds) {
  const auto group = std::make_shared<Group>(
      world_size, std::chrono::duration<double>(timeout_seconds));
  std::vector<std::unique_ptr<Transport>> transports;
  transports.reserve(static_cast<size_t>(world_size));
  for (int rank = 0; rank < world_size; ++rank) {
    transports.push_back(
        std::make_unique<ThreadTransport>(rank, world_size, group));
  }
  return transports;
}

}  // namespace dcp
