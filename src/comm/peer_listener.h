// PeerListener: where the other ranks of a save reach this one.

#ifndef DCP_COMM_PEER_LISTENER_H_
#define DCP_COMM_PEER_LISTENER_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "dcp/status.h"

namespace dcp {

struct PeerListenerOptions {
  /// For ranks on this host, in this network namespace.
  bool unix_socket = true;
  /// For all others: a free port of every interface. Without it, ranks on other
  /// hosts cannot reach this one.
  bool tcp = true;
};

/// Listens from Open until it is destroyed, so that peers may connect before
/// this rank takes them in (PeerExchange::Start). Made before the plans are
/// gathered, because they carry its address. One thread at a time.
///
/// Who does not know the token of the address is not taken in. It is as secret
/// as the plans.
class PeerListener {
 public:
  /// Opens what there is of `options`: where there is no network, no TCP; where
  /// the host cannot be told from others (no procfs), no unix socket.
  /// \error  of the last socket that was refused, if there is none at all
  static StatusOr<std::unique_ptr<PeerListener>> Open(
      const PeerListenerOptions& options = {});
  ~PeerListener();
  PeerListener(const PeerListener&) = delete;
  PeerListener& operator=(const PeerListener&) = delete;

  /// What PeerTraffic::address wants: about 200 bytes that mean nothing to
  /// others (peer_address.h).
  const std::string& address() const { return address_; }

  const std::string& token() const { return token_; }
  /// One to three, all listening.
  std::span<const UniqueFd> sockets() const { return sockets_; }

 private:
  PeerListener(std::vector<UniqueFd> sockets, std::string token,
               std::string address);

  std::vector<UniqueFd> sockets_;
  const std::string token_;
  const std::string address_;
};

}  // namespace dcp

#endif  // DCP_COMM_PEER_LISTENER_H_
