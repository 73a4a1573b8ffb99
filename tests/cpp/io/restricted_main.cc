// Runs tests with something forbidden: the first argument says what, the others
// are Catch2's. With a tag as the first argument, e.g. [R25], the tests that
// have it run under each restriction that is a tag of theirs, too.

#define CATCH_CONFIG_RUNNER
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>
#include <iostream>
#include <span>
#include <string>

namespace {

constexpr std::array kRestrictions = {"nothing",  "no-setup",   "no-uring",
                                      "no-enter", "no-openat2", "low-memlock",
                                      "no-direct"};

/// Puts `filter` over all system calls from now on.
bool Install(std::span<sock_filter> filter) {
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                           .filter = filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// Makes system call `number` fail with `error_number` from now on.
bool Forbid(long number, int error_number) {
  std::array filter = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                           offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                           static_cast<uint32_t>(number), 0, 1),
      sock_filter BPF_STMT(
          BPF_RET | BPF_K,
          SECCOMP_RET_ERRNO | static_cast<uint32_t>(error_number)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return Install(filter);
}

/// What most file systems without direct I/O say: EINVAL (open(2), NOTES).
bool ForbidDirectIo() {
  std::array filter = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                           offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                           offsetof(seccomp_data, args[2])),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_DIRECT, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return Install(filter);
}

/// Root may lock what it likes; this process may not any more.
bool LimitLockedMemory() {
  constexpr rlim_t kNbytes = 64 << 10;
  const rlimit limit{.rlim_cur = kNbytes, .rlim_max = kNbytes};
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3};
  const std::array<__user_cap_data_struct, 2> none{};
  return ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
         ::syscall(SYS_capset, &header, none.data()) == 0;
}

bool Restrict(const std::string& name) {
  if (name == "nothing") return true;
  if (name == "no-setup") return Forbid(SYS_io_uring_setup, EPERM);
  if (name == "no-uring") return Forbid(SYS_io_uring_setup, ENOSYS);
  if (name == "no-enter") return Forbid(SYS_io_uring_enter, EPERM);
  if (name == "no-openat2") return Forbid(SYS_openat2, EPERM);
  if (name == "low-memlock") return LimitLockedMemory();
  if (name == "no-direct") return ForbidDirectIo();
  return false;
}

/// Runs the tests that have `tags` and the tag of a restriction, for each of
/// them in a process of its own.
int RunEach(const std::string& program, const std::string& tags) {
  int failures = 0;
  for (const std::string restriction : kRestrictions) {
    const std::string filter = tags + "[" + restriction + "]";
    const std::array arguments = {program.c_str(), filter.c_str()};
    const pid_t child = ::fork();
    if (child == 0) {
      if (!Restrict(restriction)) return 1;
      return Catch::Session().run(arguments.size(), arguments.data());
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) ++failures;
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1][0] == '[') return RunEach(argv[0], argv[1]);
  if (argc < 2 || !Restrict(argv[1])) {
    std::cerr << "usage: " << argv[0] << " RESTRICTION [Catch2's arguments]\n";
    return 1;
  }
  return Catch::Session().run(argc - 1, argv + 1);
}
