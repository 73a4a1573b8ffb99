// dcpcpp_saver: saves what a trainer has staged, and outlives it if need be.
//
// Started by libdcp (dcp/saver.h), never by hand: descriptor 3 is the trainer's
// socket, 4 the memory that it shares.

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "checkpoint/saver_process.h"
#include "saver/saver_loop.h"

int main() {
  if (::fcntl(dcp::kSaverSocketFd, F_GETFD) < 0 ||
      ::fcntl(dcp::kSaverMemoryFd, F_GETFD) < 0) {
    std::fputs("dcpcpp_saver is started by libdcp, for a trainer\n", stderr);
    return 2;
  }
  // What the trainer left open for children of its own.
  (void)::syscall(SYS_close_range, dcp::kSaverMemoryFd + 1, ~0U, 0);
  // A job that is ended gets its checkpoint done; the trainer's end is ours.
  // SIGXFSZ: a write beyond a limit (ulimit -f) is an error, as in Python.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) {
    (void)::signal(number, SIG_IGN);
  }
  if (::chdir("/") != 0) return 1;
  dcp::RunSaver(dcp::kSaverSocketFd, dcp::kSaverMemoryFd);
  return 0;
}
