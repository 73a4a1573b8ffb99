// 1. The program is started with two descriptors: one end of a socket, and the
//    segment. It is not a copy of this process: posix_spawn(3) copies nothing.
// 2. An order is the saver's when it is in the socket: what a killed process
//    has sent can still be received.
// 3. While it has an order, the saver shows life. One that does not, stopped
//    say, is killed: nobody else may still be writing when this save counts as
//    failed.
// 4. The end of the socket is the end of the other process: no forked child
//    keeps it open (ForkClosedFd).

#include "checkpoint/saver_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>

#include "base/guarded.h"

namespace dcp {
namespace {

constexpr auto kSlice = std::chrono::milliseconds(50);
constexpr auto kEndPatience = std::chrono::seconds(2);

/// Options of posix_spawn(3), which are freed.
struct SpawnOptions {
  SpawnOptions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

/// A copy of `fd` with a number that the program's own do not reach.
StatusOr<UniqueFd> Aside(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 10));
  if (!copy.ok()) return ErrnoToStatus(errno, {.op = "fcntl"});
  return copy;
}

int SetUp(SpawnOptions& options, int socket, int memory) {
  for (int fd : {0, 1, 2}) {
    posix_spawn_file_actions_addopen(&options.actions, fd, "/dev/null", O_RDWR,
                                     0);
  }
  posix_spawn_file_actions_adddup2(&options.actions, socket, kSaverSocketFd);
  posix_spawn_file_actions_adddup2(&options.actions, memory, kSaverMemoryFd);
  sigset_t all;
  sigset_t none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&options.attributes, &all);
  posix_spawnattr_setsigmask(&options.attributes, &none);
  return posix_spawnattr_setflags(
      &options.attributes,
      POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

/// Waits a little for the end of `pid`; how it ended.
std::string Reap(pid_t pid) {
  const auto deadline = std::chrono::steady_clock::now() + kEndPatience;
  while (true) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid && WIFSIGNALED(status)) {
      return "was killed by signal " + std::to_string(WTERMSIG(status));
    }
    if (ended == pid) {
      return "ended with status " + std::to_string(WEXITSTATUS(status));
    }
    if (ended < 0 && errno != EINTR) return "ended";
    if (std::chrono::steady_clock::now() > deadline) return "does not end";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool HasHungUp(int socket) {
  pollfd polled = {.fd = socket, .events = POLLRDHUP, .revents = 0};
  return ::poll(&polled, 1, 0) > 0;
}

}  // namespace

StatusOr<std::shared_ptr<Saver>> Saver::Make(const SaverOptions& options) {
  if (!options.program.starts_with('/')) {
    return InvalidArgument("the saver's program \"" + options.program +
                           "\" is no absolute path");
  }
  return Guarded([&]() -> StatusOr<std::shared_ptr<Saver>> {
    DCP_ASSIGN_OR_RETURN(auto pages, SharedPages::Make());
    return std::make_shared<SaverProcess>(options, std::move(pages));
  });
}

SaverProcess::SaverProcess(const SaverOptions& options,
                           std::unique_ptr<SharedPages> pages)
    : owner_(::getpid()),
      options_(options),
      pages_(*pages),
      arena_(std::make_shared<HostArena>(std::move(pages))) {}

SaverProcess::~SaverProcess() {
  if (::getpid() != owner_) return;
  const MutexLock lock(mutex_);
  if (!running_) return;
  const pid_t pid = running_->pid;
  running_.reset();
  Reap(pid);
}

Status SaverProcess::Start() { return RequireRunning().status(); }

std::optional<int> SaverProcess::process_id() {
  const MutexLock lock(mutex_);
  if (!running_ || HasHungUp(running_->socket.get())) return std::nullopt;
  return running_->pid;
}

StatusOr<std::shared_ptr<SaverProcess::Running>>
SaverProcess::RequireRunning() {
  if (::getpid() != owner_) {
    return FailedPrecondition("this saver is that of process " +
                              std::to_string(owner_) +
                              ", which forked; make one in the child");
  }
  const MutexLock lock(mutex_);
  if (running_ && HasHungUp(running_->socket.get())) {
    Reap(running_->pid);
    running_.reset();
  }
  if (!running_) {
    DCP_ASSIGN_OR_RETURN(running_, Spawn());
  }
  return running_;
}

StatusOr<std::shared_ptr<SaverProcess::Running>> SaverProcess::Spawn() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoToStatus(errno, {.op = "socketpair"});
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  DCP_ASSIGN_OR_RETURN(const UniqueFd socket, Aside(theirs.get()));
  DCP_ASSIGN_OR_RETURN(const UniqueFd memory, Aside(pages_.fd()));
  SpawnOptions options;
  int error = SetUp(options, socket.get(), memory.get());
  pid_t pid = -1;
  std::string name = "dcpcpp_saver";
  const std::array<char*, 2> arguments = {name.data(), nullptr};
  if (error == 0) {
    error = ::posix_spawn(&pid, options_.program.c_str(), &options.actions,
                          &options.attributes, arguments.data(), environ);
  }
  if (error != 0) {
    return ErrnoToStatus(error,
                         {.op = "posix_spawn", .path = options_.program});
  }
  return std::make_shared<Running>(pid, std::move(ours));
}

StatusOr<SaveAnswer> SaverProcess::Carry(std::string_view order,
                                         const OrderWatch& watch) {
  const MutexLock turn(turn_);
  DCP_ASSIGN_OR_RETURN(const std::shared_ptr<Running> running,
                       RequireRunning());
  const Status sent =
      running->channel.Send(SaverMessageKind::kOrder, order, options_.patience);
  if (!sent.ok()) return GiveUp(*running, sent);
  watch.handed_over();
  return AwaitAnswer(*running, watch);
}

StatusOr<SaveAnswer> SaverProcess::AwaitAnswer(Running& running,
                                               const OrderWatch& watch) {
  Clock::Duration silence{0};  // as far as this process was there to hear it
  bool has_cancelled = false;
  while (true) {
    const auto received = running.channel.Receive(kSlice);
    if (!received.ok()) return GiveUp(running, received.status());
    const std::optional<SaverMessage>& message = *received;
    if (message && message->kind == SaverMessageKind::kAnswer) {
      return ParseSaveAnswer(message->content);
    }
    silence = message ? Clock::Duration(0) : silence + kSlice;
    if (silence > options_.patience) {
      return GiveUp(running, MakeStatus(absl::StatusCode::kDeadlineExceeded,
                                        "it shows no life"));
    }
    if (!has_cancelled && !watch.ask().ok()) {
      has_cancelled = true;
      running.channel.Send(SaverMessageKind::kCancel, {}, options_.patience)
          .IgnoreError();  // the next look at the channel tells
    }
  }
}

Status SaverProcess::GiveUp(const Running& running, const Status& why) {
  const bool is_silent = why.code() == absl::StatusCode::kDeadlineExceeded;
  if (is_silent) ::kill(running.pid, SIGKILL);
  std::string end = Reap(running.pid);
  if (is_silent) end = "showed no sign of life, and was killed";
  const MutexLock lock(mutex_);
  if (running_.get() == &running) running_.reset();
  return MakeStatus(
      absl::StatusCode::kUnavailable,
      "its saver (process " + std::to_string(running.pid) + ") " + end);
}

mode_t CurrentUmask() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Umask:")) {
      return static_cast<mode_t>(std::strtoul(line.c_str() + 6, nullptr, 8));
    }
  }
  return S_IWGRP | S_IWOTH;
}

}  // namespace dcp
