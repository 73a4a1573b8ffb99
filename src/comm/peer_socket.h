// Sockets between peers: non-blocking, closed on exec, and never a signal.

#ifndef DCP_COMM_PEER_SOCKET_H_
#define DCP_COMM_PEER_SOCKET_H_

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

/// An IP address, 4 or 16 bytes in the order of the network, and a port.
struct TcpEndpoint {
  std::string ip;
  uint16_t port = 0;

  bool operator==(const TcpEndpoint&) const = default;
};

/// Where a socket listens.
class SocketAddress {
 public:
  /// An abstract name (unix(7)), which is no file. None: `name` is empty or
  /// longer than 107 bytes.
  static std::optional<SocketAddress> OfUnix(std::string_view name);
  /// None: `endpoint.ip` has neither 4 nor 16 bytes.
  static std::optional<SocketAddress> OfTcp(const TcpEndpoint& endpoint);

  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  socklen_t nbytes() const { return nbytes_; }
  int family() const { return storage_.ss_family; }
  /// "@dcpcpp-1f…", "10.0.0.1:4711", "[::1]:4711".
  std::string ToString() const;

 private:
  sockaddr_storage storage_{};
  socklen_t nbytes_ = 0;
};

/// A socket that listens at `address`; port 0 is any that is free. Not an IPv6
/// one is reached by IPv4.
StatusOr<UniqueFd> Listen(const SocketAddress& address);
/// The TCP port that `listening` has.
StatusOr<uint16_t> PortOf(int listening);
/// The next that has connected; none if nobody is waiting.
/// \error kResourceExhausted  the process has no descriptor left
StatusOr<std::optional<UniqueFd>> AcceptOne(int listening);

/// Begins to connect. When poll(2) says POLLOUT it has ended: see ConnectError.
/// None: the other end's queue is full, it may go a little later.
/// \error kResourceExhausted  the process has no descriptor left
/// \error kUnavailable        nobody listens there, or there is no way
StatusOr<std::optional<UniqueFd>> BeginConnect(const SocketAddress& address);
/// OK if `socket` is connected. Asked once.
Status ConnectError(int socket);

/// Sends what goes without waiting; the number of bytes, 0 for none.
/// \error kUnavailable  the other end has closed the connection, or is gone
StatusOr<size_t> SendSome(int socket, std::span<const std::byte> data);
StatusOr<size_t> SendSome(int socket, std::string_view data);
/// Receives what is there into `first`, then into `second`; the number of
/// bytes, 0 for none. Not both are empty.
/// \error kUnavailable  the other end has closed the connection, or is gone
StatusOr<size_t> ReceiveSome(int socket, std::span<std::byte> first,
                             std::span<std::byte> second);

/// Ends the connection for both ends at once, or the listening, even if a
/// forked child has a copy of the descriptor, which it keeps open.
void EndSocket(int socket);

inline constexpr Clock::Duration kPollSlice = std::chrono::milliseconds(50);

/// poll(2) for kPollSlice at most. How long it waited, but not more than twice
/// that: a process that was stopped meanwhile could not hear anything.
StatusOr<Clock::Duration> PollOneSlice(std::span<pollfd> polled);

}  // namespace dcp

#endif  // DCP_COMM_PEER_SOCKET_H_
