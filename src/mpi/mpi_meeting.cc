// Ranks of an MPI program meet at the coordinator, rank 0.
//
// 1. Every collective is one round: each rank sends its call (method, message)
//    to the coordinator, which answers when all calls are there. A rank sends
//    its next call only after the answer, so at most one is under way.
// 2. All messages are point to point and are polled for: MPI's own collectives
//    have no deadline, and a rank that dies in one takes the others with it.
// 3. The first failure (a deadline, a rank that leaves, calls that do not
//    match) is the group's: the coordinator tells every rank, which finds it
//    in its current or next call, and every later call fails with it. A rank
//    that gives up by itself tells the coordinator.
// 4. A transport that is destroyed says so (kLeave), and waits a little for the
//    others' kLeave: only then is nothing on its way, and the communicator may
//    be freed. One that is freed too early could pass a late message on to the
//    next communicator of the same number.

#include "mpi/mpi_meeting.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/poll_pause.h"

namespace dcp {
namespace {

constexpr Clock::Duration kFarewell = std::chrono::seconds(1);

std::string RankText(int rank) { return "rank " + std::to_string(rank); }

Status Gone(size_t rank) {
  return MakeStatus(
      absl::StatusCode::kAborted,
      "rank " + std::to_string(rank) + " is gone: its transport was destroyed");
}

MpiMeeting::Payload MakePayload(std::string_view bytes) {
  return std::make_shared<const std::string>(bytes);
}

std::string Describe(const MpiMessage& call) {
  switch (call.kind) {
    case MpiMessageKind::kGather:
      return "Gather";
    case MpiMessageKind::kScatter:
      return "Scatter";
    case MpiMessageKind::kBroadcast:
      return "Broadcast";
    case MpiMessageKind::kAwaitAll:
      return "AwaitAll(\"" + call.payload + "\")";
    case MpiMessageKind::kReply:
    case MpiMessageKind::kFailure:
    case MpiMessageKind::kLeave:
      break;
  }
  return "method " + std::to_string(static_cast<uint32_t>(call.kind));
}

/// Whether `call` is the coordinator's too.
Status Compare(const MpiMessage& call, const MpiMessage& expected) {
  const bool is_awaited = call.kind == MpiMessageKind::kAwaitAll;
  if (call.kind == expected.kind &&
      (!is_awaited || call.payload == expected.payload)) {
    return absl::OkStatus();
  }
  return FailedPrecondition(RankText(call.sender) + " called " +
                            Describe(call) + " where rank 0 called " +
                            Describe(expected));
}

}  // namespace

MpiMeeting::MpiMeeting(std::unique_ptr<MpiChannel> channel,
                       Clock::Duration timeout, std::shared_ptr<Clock> clock)
    : channel_(std::move(channel)),
      timeout_(timeout),
      clock_(std::move(clock)),
      calls_(static_cast<size_t>(size())),
      has_left_(static_cast<size_t>(size())) {}

MpiMeeting::~MpiMeeting() {
  if (!CheckMpiThread().ok()) return;
  bool has_left = false;
  try {
    has_left = Leave().value_or(false);
  } catch (const std::bad_alloc&) {
    has_left = false;  // others find out by their deadlines
  }
  if (has_left) channel_->Free();
}

Status MpiMeeting::CheckUsable() const {
  DCP_RETURN_IF_ERROR(CheckMpiThread());
  return failure_;
}

std::vector<int> MpiMeeting::Peers() const {
  if (!coordinates()) return {0};
  std::vector<int> peers;
  for (int peer = 1; peer < size(); ++peer) peers.push_back(peer);
  return peers;
}

StatusOr<std::string> MpiMeeting::Ask(MpiMessageKind method,
                                      std::string_view message) {
  DCP_RETURN_IF_ERROR(CheckUsable());
  reply_.reset();
  const Status sent = channel_->Send(0, method, MakePayload(message));
  if (!sent.ok()) return Fail(sent);
  const bool waits = method == MpiMessageKind::kAwaitAll;
  const Clock::Duration patience = 2 * timeout_;
  DCP_ASSIGN_OR_RETURN(
      const bool answered,
      TakeUntil([this] { return reply_.has_value(); },
                waits ? std::nullopt : std::optional(patience)));
  std::optional<std::string> reply = std::exchange(reply_, std::nullopt);
  if (answered && reply) return *std::move(reply);
  return Fail(MakeStatus(
      absl::StatusCode::kDeadlineExceeded,
      "rank 0, the coordinator, did not answer a " +
          Describe({.kind = method}) + " for " + TextOf(patience) +
          ": it, or a rank that it waits for, hangs or came too late"));
}

StatusOr<std::vector<std::string>> MpiMeeting::Collect(MpiMessageKind method,
                                                       std::string_view mine) {
  DCP_RETURN_IF_ERROR(CheckUsable());
  const MpiMessage expected{.kind = method, .payload = std::string(mine)};
  expected_ = expected;
  if (const Status arrived = CheckArrivals(); !arrived.ok()) {
    return Fail(arrived);
  }
  const bool waits = method == MpiMessageKind::kAwaitAll;
  DCP_ASSIGN_OR_RETURN(
      const bool complete,
      TakeUntil([this] { return call_count_ + 1 == calls_.size(); },
                waits ? std::nullopt : std::optional(timeout_)));
  if (!complete) {
    return Fail(MakeStatus(absl::StatusCode::kDeadlineExceeded,
                           Describe(expected) + " waited " + TextOf(timeout_) +
                               " for " + MissingRanks()));
  }
  std::vector<std::string> messages;
  messages.reserve(calls_.size());
  messages.push_back(expected.payload);
  for (size_t i = 1; i < calls_.size(); ++i) {
    std::optional<MpiMessage> call = std::exchange(calls_[i], std::nullopt);
    if (call) messages.push_back(std::move(call->payload));
  }
  call_count_ = 0;
  expected_.reset();
  return messages;
}

Status MpiMeeting::CheckArrivals() const {
  for (size_t i = 1; i < calls_.size(); ++i) {
    if (has_left_[i]) return Gone(i);
    const std::optional<MpiMessage>& call = calls_[i];
    if (call && expected_) DCP_RETURN_IF_ERROR(Compare(*call, *expected_));
  }
  return absl::OkStatus();
}

std::string MpiMeeting::MissingRanks() const {
  std::string text = "rank(s)";
  for (size_t i = 1; i < calls_.size(); ++i) {
    if (!calls_[i]) text += " " + std::to_string(i);
  }
  if (const std::optional<int> sender = channel_->sender_at_work()) {
    text += ", or only for rank " + std::to_string(*sender) +
            ", which stopped in the middle of its message";
  }
  return text;
}

Status MpiMeeting::Answer(const std::function<Payload(int)>& payload_of) {
  for (const int peer : Peers()) {
    const Status sent =
        channel_->Send(peer, MpiMessageKind::kReply, payload_of(peer));
    if (!sent.ok()) return Fail(sent);
  }
  DCP_ASSIGN_OR_RETURN(
      const bool settled,
      TakeUntil([this] { return !channel_->is_sending() || LostReceiver(); },
                timeout_));
  if (const auto lost = LostReceiver()) return Fail(Gone(*lost));
  if (settled) return absl::OkStatus();
  return Fail(MakeStatus(absl::StatusCode::kDeadlineExceeded,
                         channel_->Receivers() +
                             " did not take the coordinator's answer for " +
                             TextOf(timeout_)));
}

std::optional<size_t> MpiMeeting::LostReceiver() const {
  for (size_t i = 1; i < has_left_.size(); ++i) {
    if (has_left_[i] && channel_->is_sending_to(static_cast<int>(i))) return i;
  }
  return std::nullopt;
}

Status MpiMeeting::Check() {
  DCP_RETURN_IF_ERROR(CheckUsable());
  for (;;) {
    const StatusOr<bool> taken = TakeNext();
    if (!taken.ok()) return Fail(taken.status());
    if (!*taken) break;
  }
  const Status arrived = CheckArrivals();
  return arrived.ok() ? arrived : Fail(arrived);
}

StatusOr<bool> MpiMeeting::TakeNext() {
  DCP_ASSIGN_OR_RETURN(std::optional<MpiMessage> message, channel_->Progress());
  if (!message) return false;
  DCP_RETURN_IF_ERROR(Take(*std::move(message)));
  return true;
}

StatusOr<bool> MpiMeeting::TakeUntil(const std::function<bool()>& done,
                                     std::optional<Clock::Duration> timeout) {
  const Clock::TimePoint begin = clock_->Now();
  PollPause pause(*clock_);
  // Asked after every message: what a rank sends after its answer, that it
  // leaves, say, is not of this round.
  while (!done()) {
    const StatusOr<bool> taken = TakeNext();
    if (!taken.ok()) return Fail(taken.status());
    if (*taken) {
      pause.Reset();
      continue;
    }
    if (done()) return true;
    if (timeout && clock_->Now() - begin >= *timeout) return false;
    pause.Take(channel_->is_moving());
  }
  return true;
}

Status MpiMeeting::Take(MpiMessage message) {
  const auto sender = static_cast<size_t>(message.sender);
  if (message.kind == MpiMessageKind::kLeave) {
    has_left_[sender] = true;
    // A rank may leave while the coordinator still answers others.
    const bool is_needed = !coordinates() || expected_.has_value();
    return is_needed ? Gone(sender) : absl::OkStatus();
  }
  if (message.kind == MpiMessageKind::kFailure) {
    Status failure;
    DCP_RETURN_IF_ERROR(ParseStatus(message.payload, &failure));
    return coordinates()
               ? Annotate(failure, RankText(message.sender) + " gave up")
               : failure;
  }
  if (!coordinates()) {
    reply_ = std::move(message.payload);
    return absl::OkStatus();
  }
  if (expected_) DCP_RETURN_IF_ERROR(Compare(message, *expected_));
  if (!calls_[sender]) ++call_count_;
  calls_[sender] = std::move(message);
  return absl::OkStatus();
}

Status MpiMeeting::Fail(const Status& failure) {
  if (!failure_.ok()) return failure_;
  failure_ = failure;
  const Payload payload = MakePayload(SerializeStatus(failure));
  for (const int peer : Peers()) {
    // Who cannot be told finds out by its deadline.
    channel_->Send(peer, MpiMessageKind::kFailure, payload).IgnoreError();
  }
  return failure_;
}

StatusOr<bool> MpiMeeting::Leave() {
  std::vector<int> peers = size() > 1 ? Peers() : std::vector<int>();
  for (const int peer : peers) {
    DCP_RETURN_IF_ERROR(
        channel_->Send(peer, MpiMessageKind::kLeave, MakePayload("")));
  }
  const Clock::TimePoint begin = clock_->Now();
  PollPause pause(*clock_);
  for (;;) {
    DCP_ASSIGN_OR_RETURN(const auto message, channel_->Progress());
    if (message && message->kind == MpiMessageKind::kLeave) {
      has_left_[static_cast<size_t>(message->sender)] = true;
    }
    if (message) continue;
    std::erase_if(peers, [this](int peer) {
      return has_left_[static_cast<size_t>(peer)];
    });
    if (peers.empty() && !channel_->is_sending()) return true;
    if (clock_->Now() - begin >= kFarewell) return false;
    pause.Take(channel_->is_moving());
  }
}

}  // namespace dcp
