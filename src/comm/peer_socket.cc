#include "comm/peer_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace dcp {
namespace {

/// What a unix socket may hold; TCP finds its own measure.
constexpr int kUnixBufferNbytes = 1 << 20;
// A host that vanished without a word is noticed in this many seconds, on a
// connection where nothing is under way.
constexpr int kIdleSeconds = 30;
constexpr int kProbeSeconds = 10;
constexpr int kProbes = 6;

/// As far as the system lets it.
void TrySet(int socket, int level, int option, int value) {
  (void)::setsockopt(socket, level, option, &value, sizeof(value));
}

void Tune(int socket, int family) {
  if (family == AF_UNIX) {
    TrySet(socket, SOL_SOCKET, SO_SNDBUF, kUnixBufferNbytes);
    TrySet(socket, SOL_SOCKET, SO_RCVBUF, kUnixBufferNbytes);
    return;
  }
  TrySet(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  TrySet(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  TrySet(socket, IPPROTO_TCP, TCP_KEEPIDLE, kIdleSeconds);
  TrySet(socket, IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  TrySet(socket, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

int FamilyOf(int socket) {
  int family = AF_UNSPEC;
  socklen_t nbytes = sizeof(family);
  (void)::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &nbytes);
  return family;
}

Status Closed() {
  return MakeStatus(absl::StatusCode::kUnavailable,
                    "the connection was closed");
}

/// The failure of a call on a connection: memory is this host's, all else is
/// the other end's or the network's.
Status ConnectionError(int error_number, const char* op) {
  Status status = ErrnoToStatus(error_number, {.op = op});
  if (status.code() == absl::StatusCode::kResourceExhausted) return status;
  return MakeStatus(absl::StatusCode::kUnavailable, Message(status));
}

Status OutOfDescriptors(const char* op) {
  return Annotate(ErrnoToStatus(errno, {.op = op}),
                  "ranks that exchange data need a descriptor for each that "
                  "they send to or receive from (ulimit -n)");
}

bool IsOutOfDescriptors(int error_number) {
  return error_number == EMFILE || error_number == ENFILE;
}

}  // namespace

std::optional<SocketAddress> SocketAddress::OfUnix(std::string_view name) {
  sockaddr_un address{};
  // The first byte of an abstract name is zero.
  if (name.empty() || name.size() >= sizeof(address.sun_path)) {
    return std::nullopt;
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  SocketAddress made;
  std::memcpy(&made.storage_, &address, sizeof(address));
  made.nbytes_ =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return made;
}

std::optional<SocketAddress> SocketAddress::OfTcp(const TcpEndpoint& endpoint) {
  SocketAddress made;
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
  if (endpoint.ip.size() == sizeof(v4.sin_addr)) {
    std::memcpy(&v4.sin_addr, endpoint.ip.data(), sizeof(v4.sin_addr));
    std::memcpy(&made.storage_, &v4, sizeof(v4));
    made.nbytes_ = sizeof(v4);
    return made;
  }
  sockaddr_in6 v6{.sin6_family = AF_INET6, .sin6_port = htons(endpoint.port)};
  if (endpoint.ip.size() != sizeof(v6.sin6_addr)) return std::nullopt;
  std::memcpy(&v6.sin6_addr, endpoint.ip.data(), sizeof(v6.sin6_addr));
  std::memcpy(&made.storage_, &v6, sizeof(v6));
  made.nbytes_ = sizeof(v6);
  return made;
}

std::string SocketAddress::ToString() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_UNIX) {
    const auto* const address = reinterpret_cast<const sockaddr_un*>(get());
    return "@" + std::string(address->sun_path + 1,
                             nbytes_ - offsetof(sockaddr_un, sun_path) - 1);
  }
  if (family() == AF_INET) {
    const auto* const address = reinterpret_cast<const sockaddr_in*>(get());
    (void)::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" +
           std::to_string(ntohs(address->sin_port));
  }
  const auto* const address = reinterpret_cast<const sockaddr_in6*>(get());
  (void)::inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
  return "[" + std::string(text.data()) +
         "]:" + std::to_string(ntohs(address->sin6_port));
}

StatusOr<UniqueFd> Listen(const SocketAddress& address) {
  const std::string where = address.ToString();
  UniqueFd socket(::socket(address.family(),
                           SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.ok() && IsOutOfDescriptors(errno)) {
    return OutOfDescriptors("socket");
  }
  if (!socket.ok()) return ErrnoToStatus(errno, {.op = "socket for " + where});
  if (address.family() == AF_INET6) {
    TrySet(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  if (::bind(socket.get(), address.get(), address.nbytes()) != 0) {
    return ErrnoToStatus(errno, {.op = "bind " + where});
  }
  if (::listen(socket.get(), SOMAXCONN) != 0) {
    return ErrnoToStatus(errno, {.op = "listen " + where});
  }
  return socket;
}

StatusOr<uint16_t> PortOf(int listening) {
  sockaddr_storage address{};
  socklen_t nbytes = sizeof(address);
  if (::getsockname(listening, reinterpret_cast<sockaddr*>(&address),
                    &nbytes) != 0) {
    return ErrnoToStatus(errno, {.op = "getsockname"});
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

StatusOr<std::optional<UniqueFd>> AcceptOne(int listening) {
  UniqueFd socket(
      ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.ok()) {
    Tune(socket.get(), FamilyOf(socket.get()));
    return std::optional<UniqueFd>(std::move(socket));
  }
  if (IsOutOfDescriptors(errno)) return OutOfDescriptors("accept");
  if (errno == ENOMEM || errno == ENOBUFS || errno == EBADF ||
      errno == EINVAL || errno == ENOTSOCK) {
    return ErrnoToStatus(errno, {.op = "accept"});
  }
  // EAGAIN, or what became of somebody who had connected: accept(2), "Error
  // handling".
  return std::optional<UniqueFd>();
}

StatusOr<std::optional<UniqueFd>> BeginConnect(const SocketAddress& address) {
  UniqueFd socket(::socket(address.family(),
                           SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.ok() && IsOutOfDescriptors(errno)) {
    return OutOfDescriptors("socket");
  }
  if (!socket.ok()) return ConnectionError(errno, "socket");
  Tune(socket.get(), address.family());
  if (::connect(socket.get(), address.get(), address.nbytes()) == 0 ||
      errno == EINPROGRESS || errno == EINTR) {
    return std::optional<UniqueFd>(std::move(socket));
  }
  if (errno == EAGAIN) return std::optional<UniqueFd>();
  return ConnectionError(errno, "connect");
}

Status ConnectError(int socket) {
  int error_number = 0;
  socklen_t nbytes = sizeof(error_number);
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &nbytes) != 0) {
    error_number = errno;
  }
  if (error_number == 0) return absl::OkStatus();
  return ConnectionError(error_number, "connect");
}

StatusOr<size_t> SendSome(int socket, std::span<const std::byte> data) {
  while (true) {
    const ssize_t sent =
        ::send(socket, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return static_cast<size_t>(sent);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return size_t{0};
    if (errno != EINTR) return ConnectionError(errno, "send");
  }
}

StatusOr<size_t> SendSome(int socket, std::string_view data) {
  return SendSome(socket, std::as_bytes(std::span(data)));
}

StatusOr<size_t> ReceiveSome(int socket, std::span<std::byte> first,
                             std::span<std::byte> second) {
  std::array<iovec, 2> parts = {
      {{first.data(), first.size()}, {second.data(), second.size()}}};
  msghdr message{};
  message.msg_iov = first.empty() ? &parts[1] : parts.data();
  message.msg_iovlen = first.empty() ? 1 : parts.size();
  while (true) {
    const ssize_t received = ::recvmsg(socket, &message, MSG_DONTWAIT);
    if (received > 0) return static_cast<size_t>(received);
    if (received == 0) return Closed();
    if (errno == EAGAIN || errno == EWOULDBLOCK) return size_t{0};
    if (errno != EINTR) return ConnectionError(errno, "recv");
  }
}

void EndSocket(int socket) { (void)::shutdown(socket, SHUT_RDWR); }

StatusOr<Clock::Duration> PollOneSlice(std::span<pollfd> polled) {
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(kPollSlice);
  const auto before = std::chrono::steady_clock::now();
  const int ready = ::poll(polled.data(), polled.size(),
                           static_cast<int>(milliseconds.count()));
  if (ready < 0 && errno != EINTR) return ErrnoToStatus(errno, {.op = "poll"});
  if (ready < 0) {
    for (pollfd& one : polled) one.revents = 0;
  }
  return std::min<Clock::Duration>(std::chrono::steady_clock::now() - before,
                                   2 * kPollSlice);
}

}  // namespace dcp
