#include "comm/peer_address.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kMaxIps = 16;

/// The IP address of `address`, empty if it is none or not for other hosts.
std::string IpOf(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const auto& ip = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    return {reinterpret_cast<const char*>(&ip), sizeof(ip)};
  }
  if (address.sa_family != AF_INET6) return "";
  const auto& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&ip)) return "";
  return {reinterpret_cast<const char*>(&ip), sizeof(ip)};
}

}  // namespace

std::string Encode(const PeerAddress& address) {
  WireWriter out;
  out.PutU8(kVersion);
  out.PutString(address.token);
  out.PutString(address.host);
  out.PutString(address.unix_name);
  out.PutVarint(address.tcp.size());
  for (const TcpEndpoint& endpoint : address.tcp) {
    out.PutString(endpoint.ip);
    out.PutVarint(endpoint.port);
  }
  return std::move(out).Take();
}

StatusOr<PeerAddress> ParsePeerAddress(std::string_view bytes) {
  WireReader in(bytes, "the address of a peer");
  if (in.U8() != kVersion) in.Fail();
  PeerAddress address;
  address.token = in.String();
  if (address.token.size() != kTokenNbytes) in.Fail();
  address.host = in.String();
  address.unix_name = in.String();
  const size_t count = in.Count(2);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    TcpEndpoint endpoint{.ip = std::string(in.String())};
    const uint64_t port = in.Varint();
    if (port > std::numeric_limits<uint16_t>::max()) in.Fail();
    endpoint.port = static_cast<uint16_t>(port);
    if (!SocketAddress::OfTcp(endpoint)) in.Fail();
    address.tcp.push_back(std::move(endpoint));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return address;
}

std::string HostIdentity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot_id;
  struct stat network {};
  if (!std::getline(file, boot_id) || boot_id.empty() ||
      ::stat("/proc/self/ns/net", &network) != 0) {
    return "";
  }
  return boot_id + " " + std::to_string(network.st_dev) + ":" +
         std::to_string(network.st_ino);
}

std::vector<std::string> HostIps() {
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) return {};
  std::vector<std::string> ips;
  std::vector<std::string> loopback;
  for (const ifaddrs* one = interfaces; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    std::string ip = IpOf(*one->ifa_addr);
    if (ip.empty()) continue;
    const bool is_loopback = (one->ifa_flags & IFF_LOOPBACK) != 0;
    (is_loopback ? loopback : ips).push_back(std::move(ip));
  }
  ::freeifaddrs(interfaces);
  if (loopback.size() > kMaxIps) loopback.resize(kMaxIps);
  ips.resize(std::min(ips.size(), kMaxIps - loopback.size()));
  ips.insert(ips.end(), loopback.begin(), loopback.end());
  return ips;
}

}  // namespace dcp
