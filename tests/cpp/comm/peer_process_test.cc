// Ranks that are processes.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "comm/peer_exchange.h"
#include "comm/peer_ranks.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using namespace dcp::testing;  // NOLINT: helpers of these tests only

/// Read and write ends.
std::array<UniqueFd, 2> MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// Addresses are shorter than what a pipe takes at once.
void Tell(const UniqueFd& pipe, const std::string& text) {
  const auto nbytes = static_cast<uint32_t>(text.size());
  (void)!::write(pipe.get(), &nbytes, sizeof(nbytes));
  (void)!::write(pipe.get(), text.data(), text.size());
}

std::string Hear(const UniqueFd& pipe) {
  uint32_t nbytes = 0;
  (void)!::read(pipe.get(), &nbytes, sizeof(nbytes));
  std::string text(nbytes, '\0');
  (void)!::read(pipe.get(), text.data(), text.size());
  return text;
}

/// Another rank of two: a child that runs `body` with its listener and both
/// addresses, and exits with what that returns.
class RankOne {
 public:
  using Body = std::function<int(std::unique_ptr<PeerListener>,
                                 const std::vector<std::string>&)>;

  RankOne(const PeerListenerOptions& options, const std::string& address,
          const Body& body)
      : pipe_(MakePipe()), pid_(::fork()) {
    if (pid_ != 0) {
      address_ = Hear(pipe_[0]);
      return;
    }
    auto listener = PeerListener::Open(options);
    if (!listener.ok()) ::_exit(100);
    const std::string own = (*listener)->address();
    Tell(pipe_[1], own);
    ::_exit(body(*std::move(listener), {address, own}));
  }
  RankOne(const RankOne&) = delete;
  RankOne& operator=(const RankOne&) = delete;
  ~RankOne() {
    if (pid_ > 0) Wait();
  }

  const std::string& address() const { return address_; }
  /// As of waitpid(2).
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  std::array<UniqueFd, 2> pipe_;
  std::string address_;
  pid_t pid_;
};

TEST_CASE("two processes exchange messages", "[comm][peer]") {
  const PeerListenerOptions options =
      GENERATE(PeerListenerOptions{.tcp = false},
               PeerListenerOptions{.unix_socket = false});
  const TrafficSizes sizes = RandomSizes(2, 20, 3'000'000);
  auto listeners = OpenListeners(1, options);
  RankOne other(options, listeners[0]->address(),
                [&](auto listener, const auto& addresses) {
                  return RunRank(std::move(listener),
                                 TrafficOf(1, sizes, addresses), sizes,
                                 {.rank = 1})
                                 .ok()
                             ? 0
                             : 1;
                });
  const std::vector<std::string> addresses = {listeners[0]->address(),
                                              other.address()};
  const Status status =
      RunRank(std::move(listeners[0]), TrafficOf(0, sizes, addresses), sizes,
              {.rank = 0});
  CHECK(status == absl::OkStatus());
  CHECK(other.Wait() == 0);
}

TEST_CASE("a process that is killed is named at once", "[comm][peer]") {
  class KilledSource final : public TestSource {
   public:
    using TestSource::TestSource;
    Status Read(int peer, size_t number, int64_t begin,
                std::span<std::byte> out) override {
      if (number == 2) ::raise(SIGKILL);
      return TestSource::Read(peer, number, begin, out);
    }
  };
  const PeerListenerOptions options =
      GENERATE(PeerListenerOptions{.tcp = false},
               PeerListenerOptions{.unix_socket = false});
  TrafficSizes sizes = OneWay({100'000'000});
  sizes[1][0] = {2'000'000, 2'000'000, 2'000'000};
  auto listeners = OpenListeners(1, options);
  RankOne other(options, listeners[0]->address(),
                [&](auto listener, const auto& addresses) {
                  KilledSource source(1, sizes);
                  const auto exchange = PeerExchange::Start(
                      listener.get(), TrafficOf(1, sizes, addresses), source,
                      {.rank = 1});
                  ::pause();
                  return 1;
                });
  const std::vector<std::string> addresses = {listeners[0]->address(),
                                              other.address()};
  TestSource source(0, sizes);
  const auto exchange = PeerExchange::Start(
      listeners[0].get(), TrafficOf(0, sizes, addresses), source, {.rank = 0});
  REQUIRE(exchange.ok());
  const Status status = ReceiveAll(**exchange, 0, sizes);
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(Message(status)),
             Contains("rank 1 ended the exchange before it had "));
  CHECK((*exchange)->Finish() == status);
  CHECK(WIFSIGNALED(other.Wait()));
}

}  // namespace
}  // namespace dcp
