#include "comm/peer_sender.h"

#include <poll.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "comm/peer_socket.h"

namespace dcp {
namespace {

/// Of all peers together, unless there are very many.
constexpr size_t kBufferNbytes = size_t{64} << 20;
/// Of one: more than that does not stay in the cache.
constexpr size_t kMaxPeerNbytes = size_t{1} << 20;
constexpr size_t kMinPeerNbytes = size_t{4} << 10;

}  // namespace

PeerSender::PeerSender(std::vector<PeerMessages> messages,
                       MessageSource& source, Clock::Duration timeout) {
  const size_t share = kBufferNbytes / std::max<size_t>(messages.size(), 1);
  const size_t nbytes = std::clamp(share, kMinPeerNbytes, kMaxPeerNbytes);
  outboxes_.reserve(messages.size());
  for (PeerMessages& one : messages) {
    outboxes_.emplace_back(PeerOutbox::Options{.peer = one.peer,
                                               .socket = one.socket,
                                               .sizes = std::move(one.sizes),
                                               .buffer_nbytes = nbytes,
                                               .timeout = timeout},
                           source);
  }
}

Status PeerSender::Run() {
  std::vector<pollfd> polled;
  std::vector<PeerOutbox*> waiting;
  while (true) {
    polled.clear();
    waiting.clear();
    for (PeerOutbox& outbox : outboxes_) {
      if (outbox.is_done()) continue;
      polled.push_back(outbox.polled());
      waiting.push_back(&outbox);
    }
    if (waiting.empty()) return absl::OkStatus();
    DCP_ASSIGN_OR_RETURN(const Clock::Duration waited, PollOneSlice(polled));
    for (size_t i = 0; i < waiting.size(); ++i) {
      DCP_RETURN_IF_ERROR(waiting[i]->GoOn(polled[i].revents, waited));
    }
  }
}

}  // namespace dcp
