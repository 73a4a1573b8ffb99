// The protocol:
//
// 1. Every rank listens before its plan is gathered (PeerListener), and gets
//    the addresses of those that it sends to with the global plan.
// 2. A connection carries the messages of one rank to one other. Who sends
//    connects: by an abstract unix socket if both run on one host in one
//    network namespace, else, or where that fails, by TCP (PeerCaller).
// 3. It says hello: the listener's token, its rank, and the number and the
//    sizes of its messages. The listener's rank answers with what it expects
//    (PeerReception). Both compare, since with other sizes all that follows
//    would be nonsense. Connecting and taking in is one loop (MeetPeers), so
//    that ranks which do both at once cannot wait for each other.
// 4. Then only data: each message, if it is not empty, followed by its CRC-32.
//    Which one it is and how large it is both know. One thread sends to all
//    peers whatever they take (PeerSender); what a rank does not call Receive
//    for stays with the sender, but for what sockets hold, so no rank has to
//    have memory for what comes too early.
// 5. Who has received everything sends one byte. Only then may the sender
//    close: what a socket that was closed still holds is not sure to arrive.
// 6. A connection that ends early is the message that the rank at its end has
//    failed: that is how a failure spreads. Why it failed the ranks tell each
//    other through the Transport. Its signs of life (options.proceed) also tell
//    of a rank that was killed while a child that it had forked lives on, with
//    copies of its sockets; a rank that ends by itself shuts them down.

#include "comm/peer_exchange.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/guarded.h"
#include "comm/peer_hello.h"
#include "comm/peer_meeting.h"
#include "comm/peer_socket.h"

namespace dcp {
namespace {

Status CheckSizes(const PeerTraffic& peer) {
  const auto is_negative = [](int64_t size) { return size < 0; };
  if (std::none_of(peer.outgoing.begin(), peer.outgoing.end(), is_negative) &&
      std::none_of(peer.incoming.begin(), peer.incoming.end(), is_negative)) {
    return absl::OkStatus();
  }
  return InvalidArgument("a message to or from rank " +
                         std::to_string(peer.rank) + " has less than 0 bytes");
}

StatusOr<PeerErrands> ErrandsOf(int rank,
                                const std::vector<PeerTraffic>& peers) {
  PeerErrands errands{.rank = rank};
  for (const PeerTraffic& peer : peers) {
    if (peer.outgoing.empty() && peer.incoming.empty()) continue;
    DCP_RETURN_IF_ERROR(CheckSizes(peer));
    if (peer.rank == rank || peer.rank < 0 ||
        errands.calls.contains(peer.rank) ||
        errands.expected.contains(peer.rank)) {
      return InvalidArgument("rank " + std::to_string(peer.rank) +
                             " is this rank, is listed twice or is none");
    }
    if (!peer.outgoing.empty()) {
      errands.calls[peer.rank] = {.address = peer.address,
                                  .outgoing = Summarize(peer.outgoing)};
    }
    if (!peer.incoming.empty()) {
      errands.expected[peer.rank] = Summarize(peer.incoming);
    }
  }
  return errands;
}

}  // namespace

StatusOr<std::unique_ptr<PeerExchange>> PeerExchange::Start(
    const PeerListener* listener, const std::vector<PeerTraffic>& peers,
    MessageSource& source, const PeerExchangeOptions& options) {
  return Guarded([&]() -> StatusOr<std::unique_ptr<PeerExchange>> {
    std::unique_ptr<PeerExchange> exchange(new PeerExchange(options));
    DCP_RETURN_IF_ERROR(exchange->Connect(listener, peers, source));
    if (exchange->sender_) {
      exchange->thread_ = std::thread([raw = exchange.get()] { raw->Send(); });
    }
    return exchange;
  });
}

Status PeerExchange::Connect(const PeerListener* listener,
                             const std::vector<PeerTraffic>& peers,
                             MessageSource& source) {
  DCP_ASSIGN_OR_RETURN(const PeerErrands errands,
                       ErrandsOf(options_.rank, peers));
  DCP_ASSIGN_OR_RETURN(MetPeers met, MeetPeers(listener, errands,
                                               {.proceed = options_.proceed,
                                                .timeout = options_.timeout}));
  std::vector<PeerMessages> messages;
  for (const PeerTraffic& peer : peers) {
    if (!peer.incoming.empty()) {
      inboxes_[peer.rank] = std::make_unique<PeerInbox>(
          peer.rank, std::move(met.incoming.at(peer.rank)), peer.incoming,
          options_.timeout);
    }
    if (!peer.outgoing.empty()) {
      outgoing_.push_back(std::move(met.outgoing.at(peer.rank)));
      messages.push_back({.peer = peer.rank,
                          .socket = outgoing_.back().get(),
                          .sizes = peer.outgoing});
    }
  }
  if (!messages.empty()) {
    const MutexLock lock(mutex_);
    has_sent_all_ = false;
    sender_.emplace(std::move(messages), source, options_.timeout);
  }
  return absl::OkStatus();
}

PeerExchange::~PeerExchange() {
  // Without a text, which could need memory: nobody is left to read it.
  Cancel(MakeStatus(absl::StatusCode::kCancelled, {}));
  if (thread_.joinable()) thread_.join();
}

void PeerExchange::Send() {
  const Status status = Guarded([this] { return sender_->Run(); });
  if (!status.ok()) return Cancel(status);
  const MutexLock lock(mutex_);
  has_sent_all_ = true;
  changed_.NotifyAll();
}

Status PeerExchange::Receive(int rank, size_t number,
                             std::span<std::byte> out) {
  const auto found = inboxes_.find(rank);
  if (found == inboxes_.end()) {
    return InvalidArgument("rank " + std::to_string(rank) +
                           " sends nothing to this one");
  }
  Status status = Guarded([&] { return found->second->Receive(number, out); });
  if (status.ok() || status.code() == absl::StatusCode::kInvalidArgument) {
    return status;
  }
  Cancel(status);
  return failure();
}

void PeerExchange::Cancel(const Status& why) {
  const MutexLock lock(mutex_);
  if (!failure_.ok()) return;
  failure_ = why;
  for (const auto& [rank, inbox] : inboxes_) inbox->Cancel(why);
  for (const UniqueFd& socket : outgoing_) EndSocket(socket.get());
  changed_.NotifyAll();
}

Status PeerExchange::failure() {
  const MutexLock lock(mutex_);
  return failure_;
}

Status PeerExchange::Finish() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (failure_.ok() && !has_sent_all_) {
        changed_.WaitUntil(mutex_,
                           std::chrono::steady_clock::now() + kPollSlice);
      }
      if (!failure_.ok()) return failure_;
      if (has_sent_all_) return absl::OkStatus();
    }
    if (!options_.proceed) continue;
    const Status status = options_.proceed();
    if (!status.ok()) Cancel(status);
  }
}

}  // namespace dcp
