// dcp_peer_bench: what one rank sends another, by each kind of socket.
//
// Question: how fast does bulk data go between two ranks, on one host
// (an abstract unix socket) and by TCP (loopback: the protocol's cost, with a
// network that is as fast as memory), from memory as it lies and from a source
// that has to be read?
//
// Method: two processes, one sends and one receives, both checksum. Messages of
// 4 MiB that were touched before; the time runs in the receiver from the first
// to the last, and in a repeat the kinds take turns. The first repeat is not
// counted. GB/s: minimum, median and maximum.
//
//   dcp_peer_bench [GiB per repeat=2] [repeats=5]

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "comm/peer_exchange.h"

namespace dcp::benchmarks {
namespace {

constexpr size_t kMessageNbytes = size_t{4} << 20;

enum class Bytes : uint8_t { kInMemory, kRead };

class BenchSource final : public MessageSource {
 public:
  explicit BenchSource(Bytes bytes) : bytes_(bytes), data_(kMessageNbytes) {
    std::memset(data_.data(), 0x5a, data_.size());
  }

  Status Read(int /*peer*/, size_t /*number*/, int64_t begin,
              std::span<std::byte> out) override {
    std::memcpy(out.data(), data_.data() + begin, out.size());
    return absl::OkStatus();
  }
  std::span<const std::byte> Whole(int /*peer*/, size_t /*number*/) override {
    if (bytes_ == Bytes::kRead) return {};
    return data_;
  }

 private:
  const Bytes bytes_;
  std::vector<std::byte> data_;
};

struct Kind {
  std::string name;
  PeerListenerOptions listener;
  Bytes bytes;
  std::vector<double> samples = {};
};

Status Send(const std::string& address, const std::vector<int64_t>& sizes,
            Bytes bytes) {
  BenchSource source(bytes);
  DCP_ASSIGN_OR_RETURN(
      const auto exchange,
      PeerExchange::Start(nullptr,
                          {{.rank = 1, .address = address, .outgoing = sizes}},
                          source, {.rank = 0}));
  return exchange->Finish();
}

/// GB/s.
StatusOr<double> Receive(const PeerListener& listener,
                         const std::vector<int64_t>& sizes) {
  BenchSource none(Bytes::kRead);
  std::vector<std::byte> data(kMessageNbytes, std::byte{1});
  DCP_ASSIGN_OR_RETURN(
      const auto exchange,
      PeerExchange::Start(&listener, {{.rank = 0, .incoming = sizes}}, none,
                          {.rank = 1}));
  const auto begin = std::chrono::steady_clock::now();
  for (size_t number = 0; number < sizes.size(); ++number) {
    DCP_RETURN_IF_ERROR(exchange->Receive(0, number, data));
  }
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - begin;
  return static_cast<double>(sizes.size() * kMessageNbytes) / 1e9 /
         seconds.count();
}

StatusOr<double> MeasureOnce(const Kind& kind,
                             const std::vector<int64_t>& sizes) {
  DCP_ASSIGN_OR_RETURN(auto listener, PeerListener::Open(kind.listener));
  const std::string address = listener->address();
  const pid_t sender = ::fork();
  if (sender == 0) {
    ::_exit(Send(address, sizes, kind.bytes).ok() ? 0 : 1);
  }
  StatusOr<double> rate = Receive(*listener, sizes);
  int status = 0;
  ::waitpid(sender, &status, 0);
  if (rate.ok() && status != 0) return Internal("the sender failed");
  return rate;
}

Status Main(int argc, char** argv) {
  const double gib = argc > 1 ? std::atof(argv[1]) : 2;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
  const auto count = static_cast<size_t>(
      std::max(1.0, gib * 1024 * 1024 * 1024 / kMessageNbytes));
  const std::vector<int64_t> sizes(count, int64_t{kMessageNbytes});
  std::array<Kind, 4> kinds = {{
      {"unix, in memory", {.tcp = false}, Bytes::kInMemory},
      {"unix, read", {.tcp = false}, Bytes::kRead},
      {"TCP, in memory", {.unix_socket = false}, Bytes::kInMemory},
      {"TCP, read", {.unix_socket = false}, Bytes::kRead},
  }};
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    for (size_t i = 0; i < kinds.size(); ++i) {
      Kind& kind = kinds[(i + static_cast<size_t>(repeat)) % kinds.size()];
      DCP_ASSIGN_OR_RETURN(const double rate, MeasureOnce(kind, sizes));
      if (repeat > 0) kind.samples.push_back(rate);
    }
  }
  for (Kind& kind : kinds) {
    std::sort(kind.samples.begin(), kind.samples.end());
    if (kind.samples.empty()) continue;
    std::printf("%-16s %6.2f %6.2f %6.2f GB/s\n", kind.name.c_str(),
                kind.samples.front(), kind.samples[kind.samples.size() / 2],
                kind.samples.back());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dcp::benchmarks

int main(int argc, char** argv) {
  const dcp::Status status = dcp::benchmarks::Main(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dcp_peer_bench: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
