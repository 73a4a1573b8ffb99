// PeerAddress: where a rank is reached, as other ranks are told.

#ifndef DCP_COMM_PEER_ADDRESS_H_
#define DCP_COMM_PEER_ADDRESS_H_

#include <string>
#include <string_view>
#include <vector>

#include "comm/peer_socket.h"
#include "dcp/status.h"

namespace dcp {

/// Of PeerAddress::token.
inline constexpr size_t kTokenNbytes = 32;

struct PeerAddress {
  /// What who connects has to know: 32 random hex digits.
  std::string token;
  /// HostIdentity() of the rank; empty: unknown.
  std::string host;
  /// Of an abstract unix socket, empty: there is none.
  std::string unix_name;
  /// In the order in which to try them.
  std::vector<TcpEndpoint> tcp;

  bool operator==(const PeerAddress&) const = default;
};

std::string Encode(const PeerAddress& address);
/// \error kDataLoss  `bytes` are not what Encode gives
StatusOr<PeerAddress> ParsePeerAddress(std::string_view bytes);

/// The same for two processes if an abstract unix socket of one can be reached
/// by the other: they run on one booted kernel, in one network namespace. Empty
/// where procfs does not tell. Two virtual machines that were started from one
/// snapshot can have the same: a name that is random is not found there.
std::string HostIdentity();

/// Where to try to reach this host: the addresses of the interfaces that are
/// up, loopback last, 4 or 16 bytes each, 16 at most. Not those that need the
/// name of an interface (IPv6 link-local).
std::vector<std::string> HostIps();

}  // namespace dcp

#endif  // DCP_COMM_PEER_ADDRESS_H_
