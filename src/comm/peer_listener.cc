#include "comm/peer_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "base/random_id.h"
#include "comm/peer_address.h"
#include "comm/peer_socket.h"

namespace dcp {
namespace {

constexpr size_t kIpv4Nbytes = 4;
constexpr size_t kIpv6Nbytes = 16;

Status OpenUnix(PeerAddress& address, std::vector<UniqueFd>& sockets) {
  address.host = HostIdentity();
  if (address.host.empty()) {
    return FailedPrecondition(
        "/proc does not tell this host from others, so no unix socket of it "
        "can be named");
  }
  std::string name = "dcpcpp-" + MakeRandomHex();
  const std::optional<SocketAddress> at = SocketAddress::OfUnix(name);
  if (!at) return Internal("no name of a unix socket: " + name);
  DCP_ASSIGN_OR_RETURN(UniqueFd socket, Listen(*at));
  sockets.push_back(std::move(socket));
  address.unix_name = std::move(name);
  return absl::OkStatus();
}

/// Listens at the addresses of one family among `ips`, those of `ip_nbytes`,
/// and notes the port.
Status OpenTcp(size_t ip_nbytes, const std::vector<std::string>& ips,
               std::map<size_t, uint16_t>& ports,
               std::vector<UniqueFd>& sockets) {
  const auto is_of_family = [&](const std::string& ip) {
    return ip.size() == ip_nbytes;
  };
  if (std::none_of(ips.begin(), ips.end(), is_of_family)) {
    return FailedPrecondition("no network interface of this host is up");
  }
  const TcpEndpoint any{.ip = std::string(ip_nbytes, '\0')};
  const std::optional<SocketAddress> at = SocketAddress::OfTcp(any);
  if (!at) return Internal("no IP address has as many bytes");
  DCP_ASSIGN_OR_RETURN(UniqueFd socket, Listen(*at));
  DCP_ASSIGN_OR_RETURN(ports[ip_nbytes], PortOf(socket.get()));
  sockets.push_back(std::move(socket));
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<PeerListener>> PeerListener::Open(
    const PeerListenerOptions& options) {
  PeerAddress address{.token = MakeRandomHex()};
  std::vector<UniqueFd> sockets;
  Status refused = InvalidArgument("neither a unix socket nor TCP is wanted");
  const auto note = [&refused](const Status& status) {
    if (!status.ok()) refused = status;
  };
  if (options.unix_socket) note(OpenUnix(address, sockets));
  if (options.tcp) {
    const std::vector<std::string> ips = HostIps();
    std::map<size_t, uint16_t> ports;  // by the size of an address
    note(OpenTcp(kIpv6Nbytes, ips, ports, sockets));
    note(OpenTcp(kIpv4Nbytes, ips, ports, sockets));
    for (const std::string& ip : ips) {
      const auto port = ports.find(ip.size());
      if (port != ports.end()) address.tcp.push_back({ip, port->second});
    }
  }
  if (sockets.empty()) {
    return Annotate(refused, "open a socket for the other ranks' data");
  }
  std::string token = address.token;
  return std::unique_ptr<PeerListener>(
      new PeerListener(std::move(sockets), std::move(token), Encode(address)));
}

PeerListener::PeerListener(std::vector<UniqueFd> sockets, std::string token,
                           std::string address)
    : sockets_(std::move(sockets)),
      token_(std::move(token)),
      address_(std::move(address)) {}

PeerListener::~PeerListener() {
  for (const UniqueFd& socket : sockets_) EndSocket(socket.get());
}

}  // namespace dcp
