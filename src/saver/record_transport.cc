// All that ranks tell each other are records (storage/rank_records.h):
//
// 1. "<call>-<rank>": what the rank sends to the coordinator in its call of
// that
//    number, or gets from it; "<call>": what the coordinator tells all. Ranks
//    look for what they wait for, in a list of the directory.
// 2. "alive-<rank>": a number that a thread of the rank counts up every second.
//    The coordinator watches those of all, the others that of the coordinator.
//    One that stands still for the patience, or never comes, is its rank's end.
//    A rank that could not look itself meanwhile, stopped or with a storage
//    that hung, counts that time for nobody.
// 3. "gone-<rank>": the rank takes no part any more. It writes that itself at
//    its end, whichever that is; its trainer does if the process was killed; so
//    does the coordinator for one that shows no life. Who waits fails, unless
//    what it waits for is there.
// 4. Who finds at its end that all are gone removes the session's records.
// Those
//    of a session that did not end so are left over (leftovers.h).

#include "saver/record_transport.h"

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "base/process_name.h"

namespace dcp {
namespace {

constexpr Clock::Duration kLongestBeat = std::chrono::seconds(1);
constexpr int kLooksPerBeat = 4;
constexpr int kNapsPerLook = 10;
constexpr auto kShortPause = std::chrono::microseconds(500);
constexpr auto kLongPause = std::chrono::milliseconds(100);

std::string AliveTag(int rank) { return "alive-" + std::to_string(rank); }

}  // namespace

StatusOr<std::unique_ptr<RecordTransport>> RecordTransport::Open(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    const RecordTransportOptions& options) {
  std::unique_ptr<RecordTransport> transport(
      new RecordTransport(std::move(file_system), std::move(clock), options));
  DCP_RETURN_IF_ERROR(transport->ShowLife());
  transport->thread_ = std::thread([raw = transport.get()] { raw->Tend(); });
  return transport;
}

RecordTransport::RecordTransport(std::shared_ptr<FileSystem> file_system,
                                 std::shared_ptr<Clock> clock,
                                 const RecordTransportOptions& options)
    : file_system_(std::move(file_system)),
      clock_(std::move(clock)),
      options_(options),
      records_(*file_system_, options.directory, options.session_id),
      failed_rank_(options.rank) {}

RecordTransport::~RecordTransport() {
  stops_ = true;
  if (thread_.joinable()) thread_.join();
  (void)Guarded([this]() -> Status {
    DCP_RETURN_IF_ERROR(records_.TellGone(rank(), "it has left"));
    DCP_ASSIGN_OR_RETURN(const std::set<std::string> tags, records_.Tags());
    for (int other = 0; other < world_size(); ++other) {
      if (!tags.contains(RankRecords::GoneTag(other))) return absl::OkStatus();
    }
    records_.Remove(tags);
    return absl::OkStatus();
  });
}

int RecordTransport::failed_rank() const {
  const MutexLock lock(mutex_);
  return failed_rank_;
}

std::string RecordTransport::CallTag() const { return std::to_string(calls_); }

std::string RecordTransport::TagOf(int rank) const {
  return CallTag() + "-" + std::to_string(rank);
}

std::vector<std::string> RecordTransport::TagsOfOthers() const {
  std::vector<std::string> tags;
  for (int other = 0; other < world_size(); ++other) {
    if (other != rank()) tags.push_back(TagOf(other));
  }
  return tags;
}

StatusOr<std::vector<std::string>> RecordTransport::Gather(
    std::string_view message) {
  ++calls_;
  std::vector<std::string> messages;
  if (!is_coordinator()) {
    DCP_RETURN_IF_ERROR(Check());
    DCP_RETURN_IF_ERROR(records_.Put(TagOf(rank()), message));
    return messages;
  }
  DCP_RETURN_IF_ERROR(Await(TagsOfOthers(), options_.timeout));
  for (int other = 0; other < world_size(); ++other) {
    if (other == rank()) {
      messages.emplace_back(message);
      continue;
    }
    DCP_ASSIGN_OR_RETURN(std::string theirs, Take(TagOf(other)));
    messages.push_back(std::move(theirs));
  }
  return messages;
}

StatusOr<std::string> RecordTransport::Scatter(
    std::span<const std::string> messages) {
  ++calls_;
  if (!is_coordinator()) {
    DCP_RETURN_IF_ERROR(Await({TagOf(rank())}, options_.timeout));
    return Take(TagOf(rank()));
  }
  if (messages.size() != static_cast<size_t>(world_size())) {
    return InvalidArgument("Scatter needs a message for each of " +
                           std::to_string(world_size()) + " ranks, got " +
                           std::to_string(messages.size()));
  }
  DCP_RETURN_IF_ERROR(Check());
  for (int other = 0; other < world_size(); ++other) {
    if (other == rank()) continue;
    DCP_RETURN_IF_ERROR(
        records_.Put(TagOf(other), messages[static_cast<size_t>(other)]));
  }
  return messages[static_cast<size_t>(rank())];
}

StatusOr<std::string> RecordTransport::Broadcast(std::string_view message) {
  ++calls_;
  if (!is_coordinator()) {
    DCP_RETURN_IF_ERROR(Await({CallTag()}, options_.timeout));
    return records_.Get(CallTag());
  }
  // Also to ranks that are gone: the others need not miss this one.
  DCP_RETURN_IF_ERROR(records_.Put(CallTag(), message));
  return std::string(message);
}

Status RecordTransport::AwaitAll(std::string_view phase) {
  ++calls_;
  if (!is_coordinator()) {
    DCP_RETURN_IF_ERROR(records_.Put(TagOf(rank()), phase));
    return Await({CallTag()}, Clock::Duration::max());
  }
  DCP_RETURN_IF_ERROR(Await(TagsOfOthers(), Clock::Duration::max()));
  return records_.Put(CallTag(), phase);
}

Status RecordTransport::Check() {
  const MutexLock lock(mutex_);
  return failure_;
}

/// A message with one reader, who removes it.
StatusOr<std::string> RecordTransport::Take(const std::string& tag) {
  DCP_ASSIGN_OR_RETURN(std::string content, records_.Get(tag));
  records_.Remove({tag});
  return content;
}

Status RecordTransport::Await(const std::vector<std::string>& tags,
                              Clock::Duration timeout) {
  const Clock::TimePoint begin = clock_->Now();
  while (true) {
    const Status failure = Check();  // before the list, which may have more
    DCP_ASSIGN_OR_RETURN(const std::set<std::string> there, records_.Tags());
    const auto missing =
        std::find_if(tags.begin(), tags.end(),
                     [&](const auto& tag) { return !there.contains(tag); });
    if (there.contains(RankRecords::GoneTag(rank()))) {
      return MakeStatus(absl::StatusCode::kAborted,
                        "the other ranks have given this one up");
    }
    if (missing == tags.end()) return absl::OkStatus();
    DCP_RETURN_IF_ERROR(failure);
    const Clock::Duration waited = clock_->Now() - begin;
    if (waited > timeout) {
      const auto from = is_coordinator()
                            ? missing->substr(missing->find('-') + 1)
                            : std::to_string(coordinator());
      return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                        "rank " + from + " has sent nothing in time");
    }
    clock_->SleepFor(
        std::clamp<Clock::Duration>(waited / 8, kShortPause, kLongPause));
  }
}

Status RecordTransport::ShowLife() {
  return records_.Put(AliveTag(rank()),
                      std::to_string(++beats_) + " " + ProcessName());
}

void RecordTransport::Tend() {
  const Clock::Duration beat = std::min(kLongestBeat, options_.patience / 5);
  const Clock::Duration look = beat / kLooksPerBeat;
  Clock::Duration since_beat{0};
  Clock::TimePoint last = clock_->Now();
  while (!stops_) {
    (void)Guarded([&]() -> Status {
      if (since_beat >= beat) {
        since_beat = Clock::Duration(0);
        // One that fails is made up for by the next.
        (void)ShowLife();
      }
      Look();
      return absl::OkStatus();
    });
    for (int i = 0; i < kNapsPerLook && !stops_; ++i) {
      clock_->SleepFor(look / kNapsPerLook);
    }
    const Clock::TimePoint now = clock_->Now();
    since_beat += now - last;
    looked_ += std::min<Clock::Duration>(now - last, 2 * look);
    last = now;
  }
}

void RecordTransport::Look() {
  const StatusOr<std::set<std::string>> tags = records_.Tags();
  if (!tags.ok() || !Check().ok()) return;
  for (int other = 0; other < world_size(); ++other) {
    if (other == rank() || !tags->contains(RankRecords::GoneTag(other))) {
      continue;
    }
    // One that told of itself has no use for what it says here.
    const auto why = records_.Get(RankRecords::GoneTag(other));
    if (why.ok()) Lose(other, *why);
  }
  for (int other = 0; other < world_size(); ++other) {
    if (other != rank() && (is_coordinator() || other == coordinator())) {
      LookAtSign(other, *tags);
    }
  }
}

void RecordTransport::LookAtSign(int rank, const std::set<std::string>& tags) {
  Sign& sign = signs_[rank];
  // Not all of them all the time: a job may have thousands of ranks.
  const bool is_due = looked_ - sign.since > options_.patience / 4;
  if (!is_due) return;
  std::string content = "nothing";
  if (tags.contains(AliveTag(rank))) {
    auto read = records_.Get(AliveTag(rank));
    if (read.ok()) content = *std::move(read);
  }
  if (content != sign.content) {
    sign = {.content = std::move(content), .since = looked_};
  } else if (looked_ - sign.since > options_.patience) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(options_.patience);
    const std::string time = " for " + std::to_string(seconds.count()) + " s";
    const std::string why = content == "nothing"
                                ? "it has not begun in " + options_.directory +
                                      time +
                                      " (all ranks must share that directory)"
                                : "its saver shows no sign of life" + time;
    records_.TellGone(rank, why).IgnoreError();
    Lose(rank, why);
  }
}

void RecordTransport::Lose(int rank, const std::string& why) {
  const MutexLock lock(mutex_);
  if (!failure_.ok()) return;
  failed_rank_ = rank;
  failure_ = MakeStatus(absl::StatusCode::kAborted,
                        "rank " + std::to_string(rank) + " is gone: " + why);
}

}  // namespace dcp
