#include "reliability/syscall_tracer.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <map>
#include <set>

namespace dcp::testing {
namespace {

constexpr std::array kTraced = {
    SYS_openat,    SYS_openat2,   SYS_mkdir,          SYS_mkdirat,
    SYS_rename,    SYS_renameat,  SYS_renameat2,      SYS_unlink,
    SYS_unlinkat,  SYS_write,     SYS_writev,         SYS_pwrite64,
    SYS_pwritev,   SYS_pwritev2,  SYS_read,           SYS_pread64,
    SYS_preadv,    SYS_preadv2,   SYS_fsync,          SYS_fdatasync,
    SYS_ftruncate, SYS_fallocate, SYS_close,          SYS_fcntl,
    SYS_statx,     SYS_fstat,     SYS_newfstatat,     SYS_getdents64,
    SYS_fstatfs,   SYS_statfs,    SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_link,      SYS_linkat,    SYS_fadvise64,      SYS_io_uring_register};

constexpr int kMarkFd = -4711;  // no descriptor: closing it does nothing

bool IsTraced(long number) {
  return std::find(kTraced.begin(), kTraced.end(), number) != kTraced.end();
}

/// The child: waits to be traced, then runs `body`.
[[noreturn]] void BeChild(const std::function<int()>& body) {
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::raise(SIGSTOP);
  ::_exit(body());
}

/// waitpid that gives up: alarm() interrupts it.
class HangGuard {
 public:
  HangGuard() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // no SA_RESTART
    ::sigaction(SIGALRM, &action, &before_);
    ::alarm(kHangSeconds);
  }
  ~HangGuard() {
    ::alarm(0);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct sigaction before_ {};
};

class Tracer {
 public:
  Tracer(pid_t child, const std::function<Verdict(const TracedCall&)>& decide,
         const TraceOptions& options)
      : child_(child),
        decide_(decide),
        options_(options),
        is_marked_(!options.from_mark) {}

  TraceResult Run() {
    const HangGuard guard;
    int status = 0;
    ::waitpid(child_, &status, 0);  // its SIGSTOP
    const long follow =
        options_.follow ? PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC : 0;
    ::ptrace(PTRACE_SETOPTIONS, child_, nullptr,
             PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL |
                 follow);
    ::ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr);
    while (true) {
      const pid_t thread = ::waitpid(-1, &status, __WALL);
      if (thread < 0 && errno == EINTR) {
        result_.hung = true;
        for (const pid_t each : threads_) Kill(each);
        continue;
      }
      if (thread < 0) return result_;  // ECHILD: all threads are gone
      if (WIFSTOPPED(status)) {
        threads_.insert(thread);
        OnStop(thread, status);
        continue;
      }
      threads_.erase(thread);
      if (thread == child_ && WIFEXITED(status)) {
        result_.exit_code = WEXITSTATUS(status);
      }
    }
  }

 private:
  /// The process that has `thread`: kill(2) takes its number for that, too.
  static void Kill(pid_t thread) { ::kill(thread, SIGKILL); }

  void OnStop(pid_t thread, int status) {
    const int signal = WSTOPSIG(status);
    long deliver = 0;
    if (signal == (SIGTRAP | 0x80)) {
      OnCall(thread);
    } else if (signal != SIGTRAP && signal != SIGSTOP) {
      deliver = signal;
    }
    // Fails if the thread was killed meanwhile; waitpid tells.
    ::ptrace(PTRACE_SYSCALL, thread, nullptr, deliver);
  }

  void OnCall(pid_t thread) {
    struct __ptrace_syscall_info info {};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0) {
      return;
    }
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      const auto number = static_cast<long>(info.entry.nr);
      is_marked_ = is_marked_ ||
                   (number == SYS_close && int(info.entry.args[0]) == kMarkFd);
      if (!is_marked_ || !IsTraced(number)) return;
      const TracedCall call{++result_.calls, number, CallStop::kBefore};
      under_way_[thread] = {.call = call, .verdict = {}};
      Obey(thread, call, decide_(call));
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
      const auto found = under_way_.find(thread);
      if (found == under_way_.end()) return;
      const UnderWay done = found->second;
      under_way_.erase(found);
      if (done.verdict.action == Verdict::Action::kReturn) {
        SetResult(thread, done.verdict.value);
        return;
      }
      TracedCall call = done.call;
      call.stop = CallStop::kAfter;
      Obey(thread, call, decide_(call));
    }
  }

  void Obey(pid_t thread, const TracedCall& call, const Verdict& verdict) {
    switch (verdict.action) {
      case Verdict::Action::kContinue:
        return;
      case Verdict::Action::kKill:
        Kill(thread);
        return;
      case Verdict::Action::kReturn:
        if (call.stop != CallStop::kBefore) return;
        under_way_[thread].verdict = verdict;
        SkipCall(thread);
        return;
      case Verdict::Action::kShorten:
        if (call.stop == CallStop::kBefore) HalveCount(thread);
        return;
    }
  }

#ifdef __x86_64__
  static void SkipCall(pid_t thread) {
    ::ptrace(PTRACE_POKEUSER, thread, offsetof(user_regs_struct, orig_rax),
             -1L);
  }
  static void SetResult(pid_t thread, int64_t value) {
    ::ptrace(PTRACE_POKEUSER, thread, offsetof(user_regs_struct, rax), value);
  }
  static void HalveCount(pid_t thread) {
    errno = 0;
    const long count = ::ptrace(PTRACE_PEEKUSER, thread,
                                offsetof(user_regs_struct, rdx), nullptr);
    if (errno != 0 || count < 2) return;
    ::ptrace(PTRACE_POKEUSER, thread, offsetof(user_regs_struct, rdx),
             count / 2);
  }
#else
  static void SkipCall(pid_t) {}
  static void SetResult(pid_t, int64_t) {}
  static void HalveCount(pid_t) {}
#endif

  struct UnderWay {
    TracedCall call;
    Verdict verdict;
  };

  const pid_t child_;
  const std::function<Verdict(const TracedCall&)>& decide_;
  const TraceOptions options_;
  bool is_marked_;
  std::set<pid_t> threads_;
  std::map<pid_t, UnderWay> under_way_;
  TraceResult result_;
};

}  // namespace

TraceResult RunTraced(const std::function<int()>& body,
                      const std::function<Verdict(const TracedCall&)>& decide,
                      const TraceOptions& options) {
  // What the child leaves behind is ours to wait for.
  if (options.follow) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t child = ::fork();
  if (child == 0) BeChild(body);
  return Tracer(child, decide, options).Run();
}

void MarkTraceBegin() { (void)::close(kMarkFd); }

std::optional<std::string> WhyNotTraced() {
#ifndef __x86_64__
  return "system calls are traced on x86-64 only";
#else
  const auto decide = [](const TracedCall& call) {
    return call.number == SYS_close && call.stop == CallStop::kBefore
               ? Verdict{Verdict::Action::kReturn, -EIO}
               : Verdict{};
  };
  const TraceResult result = RunTraced(
      [] { return ::close(-1) == -1 && errno == EIO ? 7 : 1; }, decide);
  if (result.exit_code == 7) return std::nullopt;
  return "the system does not let a process trace its child";
#endif
}

bool IsWrite(long number) {
  return number == SYS_write || number == SYS_pwrite64;
}

}  // namespace dcp::testing
