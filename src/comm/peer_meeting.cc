#include "comm/peer_meeting.h"

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "comm/peer_address.h"
#include "comm/peer_caller.h"
#include "comm/peer_reception.h"
#include "comm/peer_socket.h"
#include "comm/silence.h"

namespace dcp {
namespace {

/// " 3 5 8", and so on if there are many.
std::string ListOf(const std::vector<int>& ranks) {
  constexpr size_t kShown = 16;
  std::string text;
  for (size_t i = 0; i < ranks.size() && i < kShown; ++i) {
    text += " " + std::to_string(ranks[i]);
  }
  if (ranks.size() > kShown) {
    text += " and " + std::to_string(ranks.size() - kShown) + " more";
  }
  return text;
}

class Meeting {
 public:
  Meeting(const PeerErrands& errands, const MeetingPatience& patience)
      : errands_(errands),
        patience_(patience),
        silence_(patience.timeout),
        asks_at_(std::chrono::steady_clock::now() + kPollSlice) {}

  Status Prepare(const PeerListener* listener);
  Status Run();
  MetPeers Take();

 private:
  bool is_over() const {
    return to_connect_ == 0 && (!reception_ || reception_->missing().empty());
  }
  /// One round of poll(2).
  Status GoOn();
  /// What has become of `polled`; `begins` says where each caller's part
  /// begins, and the reception's.
  StatusOr<bool> Handle(std::span<const pollfd> polled,
                        const std::vector<size_t>& begins);
  Status AskMayProceed();
  Status TooLate() const;

  const PeerErrands& errands_;
  const MeetingPatience& patience_;
  std::vector<PeerCaller> callers_;
  size_t to_connect_ = 0;
  std::optional<PeerReception> reception_;
  Silence silence_;
  Clock::TimePoint asks_at_;
};

Status Meeting::Prepare(const PeerListener* listener) {
  for (const auto& [rank, call] : errands_.calls) {
    StatusOr<PeerAddress> address = ParsePeerAddress(call.address);
    if (!address.ok()) {
      return Annotate(address.status(), "rank " + std::to_string(rank));
    }
    callers_.emplace_back(rank, *address,
                          PeerHello{.token = address->token,
                                    .rank = errands_.rank,
                                    .outgoing = call.outgoing});
  }
  to_connect_ = callers_.size();
  if (!errands_.expected.empty()) {
    if (listener == nullptr) {
      return InvalidArgument("rank " +
                             std::to_string(errands_.expected.begin()->first) +
                             " sends to this one, which does not listen");
    }
    reception_.emplace(*listener, errands_.rank, errands_.expected);
  }
  return absl::OkStatus();
}

Status Meeting::Run() {
  while (!is_over()) {
    DCP_RETURN_IF_ERROR(GoOn());
    DCP_RETURN_IF_ERROR(AskMayProceed());
    if (silence_.is_too_long()) return TooLate();
  }
  return absl::OkStatus();
}

Status Meeting::GoOn() {
  std::vector<pollfd> polled;
  std::vector<size_t> begins;
  for (PeerCaller& caller : callers_) {
    DCP_RETURN_IF_ERROR(caller.Advance(std::chrono::steady_clock::now()));
    begins.push_back(polled.size());
    caller.AppendPolled(polled);
  }
  begins.push_back(polled.size());
  if (reception_) reception_->AppendPolled(polled);
  DCP_ASSIGN_OR_RETURN(const Clock::Duration waited, PollOneSlice(polled));
  silence_.Add(waited);
  DCP_ASSIGN_OR_RETURN(const bool has_changed, Handle(polled, begins));
  if (has_changed) silence_.Break();
  return absl::OkStatus();
}

StatusOr<bool> Meeting::Handle(std::span<const pollfd> polled,
                               const std::vector<size_t>& begins) {
  const auto now = std::chrono::steady_clock::now();
  bool has_changed = false;
  to_connect_ = 0;
  for (size_t i = 0; i < callers_.size(); ++i) {
    const auto part = polled.subspan(begins[i], begins[i + 1] - begins[i]);
    DCP_ASSIGN_OR_RETURN(const bool changed, callers_[i].Handle(part, now));
    has_changed = has_changed || changed;
    if (!callers_[i].has_connected()) ++to_connect_;
  }
  if (!reception_) return has_changed;
  DCP_ASSIGN_OR_RETURN(const bool has_come,
                       reception_->Handle(polled.subspan(begins.back()), now));
  return has_changed || has_come;
}

Status Meeting::AskMayProceed() {
  const auto now = std::chrono::steady_clock::now();
  if (!patience_.proceed || now < asks_at_) return absl::OkStatus();
  asks_at_ = now + kPollSlice;
  return patience_.proceed();
}

Status Meeting::TooLate() const {
  std::string text = "rank " + std::to_string(errands_.rank) +
                     " waits for the others' connections, and " +
                     silence_.ToString() + ":";
  std::vector<int> silent;
  for (const PeerCaller& caller : callers_) {
    if (!caller.has_connected()) silent.push_back(caller.peer());
  }
  if (!silent.empty()) text += " rank(s)" + ListOf(silent) + " do not answer";
  const std::vector<int> missing =
      reception_ ? reception_->missing() : std::vector<int>();
  if (!silent.empty() && !missing.empty()) text += ",";
  if (!missing.empty()) text += " rank(s)" + ListOf(missing) + " do not come";
  return MakeStatus(absl::StatusCode::kDeadlineExceeded, text);
}

MetPeers Meeting::Take() {
  MetPeers met;
  for (PeerCaller& caller : callers_) {
    met.outgoing.emplace(caller.peer(), caller.Take());
  }
  if (reception_) met.incoming = reception_->Take();
  return met;
}

}  // namespace

StatusOr<MetPeers> MeetPeers(const PeerListener* listener,
                             const PeerErrands& errands,
                             const MeetingPatience& patience) {
  Meeting meeting(errands, patience);
  DCP_RETURN_IF_ERROR(meeting.Prepare(listener));
  DCP_RETURN_IF_ERROR(meeting.Run());
  return meeting.Take();
}

}  // namespace dcp
