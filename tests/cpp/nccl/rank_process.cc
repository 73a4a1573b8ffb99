#include "nccl/rank_process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>

namespace dcp::testing {
namespace {

pid_t Spawn(const std::vector<std::string>& arguments, int socket) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, 3);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("posix_spawn");
  return pid;
}

/// The transport of another process.
class RemoteTransport final : public Transport {
 public:
  RemoteTransport(std::shared_ptr<RankJob> job, int rank)
      : job_(std::move(job)), rank_(rank) {}
  ~RemoteTransport() override { job_->Dismiss(rank_); }

  int rank() const override { return rank_; }
  int world_size() const override { return job_->size(); }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return Ask("gather", {std::string(message)});
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    DCP_ASSIGN_OR_RETURN(auto values,
                         Ask("scatter", {messages.begin(), messages.end()}));
    return values[0];
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    DCP_ASSIGN_OR_RETURN(auto values, Ask("broadcast", {std::string(message)}));
    return values[0];
  }
  Status AwaitAll(std::string_view phase) override {
    return Ask("await", {std::string(phase)}).status();
  }
  Status Check() override { return Ask("check", {}).status(); }

 private:
  StatusOr<std::vector<std::string>> Ask(const char* what,
                                         std::vector<std::string> values) {
    return job_->Ask(rank_, {.what = what, .values = std::move(values)});
  }
  const std::shared_ptr<RankJob> job_;
  const int rank_;
};

}  // namespace

RankJob::RankJob(const RankJobOptions& options) {
  // As a rank that is gone is an error, and no signal.
  ::signal(SIGPIPE, SIG_IGN);
  for (int rank = 0; rank < options.size; ++rank) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::runtime_error("socketpair");
    sockets_.emplace_back(ends[0]);
    const UniqueFd theirs(ends[1]);
    pids_.push_back(Spawn(
        {DCP_NCCL_RANK, directory_.path(), std::to_string(rank),
         std::to_string(options.size), std::to_string(options.timeout_seconds),
         std::to_string(options.blocks ? 1 : 0)},
        theirs.get()));
  }
}

RankJob::~RankJob() {
  sockets_.clear();
  for (const pid_t pid : pids_) {
    if (pid > 0) ::waitpid(pid, nullptr, 0);
  }
}

StatusOr<std::vector<std::string>> RankJob::Ask(int rank,
                                                const RankMessage& message) {
  const int socket = sockets_[static_cast<size_t>(rank)].get();
  auto reply = Tell(socket, message) ? Hear(socket) : std::nullopt;
  if (!reply) {
    return MakeStatus(absl::StatusCode::kUnavailable, "the rank is gone");
  }
  Status status;
  DCP_RETURN_IF_ERROR(ParseStatus(reply->what, &status));
  DCP_RETURN_IF_ERROR(status);
  return std::move(reply->values);
}

std::vector<Status> RankJob::AskAll(const RankMessage& message) {
  std::vector<Status> statuses(sockets_.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size(); ++rank) {
    threads.emplace_back([&, rank] {
      statuses[static_cast<size_t>(rank)] = Ask(rank, message).status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

void RankJob::Kill(int rank, int signal) {
  pid_t& pid = pids_[static_cast<size_t>(rank)];
  ::kill(pid, signal);
  if (signal != SIGKILL) return;
  ::waitpid(pid, nullptr, 0);
  pid = 0;
}

std::vector<std::string> RankJob::CallsOf(int rank) const {
  std::ifstream file(directory_.path() + "/calls." + std::to_string(rank));
  std::vector<std::string> calls;
  for (std::string line; std::getline(file, line);) calls.push_back(line);
  return calls;
}

std::vector<std::unique_ptr<Transport>> MakeRemoteTransports(
    int world_size, double timeout_seconds) {
  // Shorter ones could pass before all processes have started.
  const auto job = std::make_shared<RankJob>(RankJobOptions{
      .size = world_size, .timeout_seconds = std::max(timeout_seconds, 1.0)});
  for (const Status& made : job->AskAll({.what = "make"})) {
    if (!made.ok()) throw std::runtime_error(std::string(Message(made)));
  }
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < world_size; ++rank) {
    transports.push_back(std::make_unique<RemoteTransport>(job, rank));
  }
  return transports;
}

}  // namespace dcp::testing
