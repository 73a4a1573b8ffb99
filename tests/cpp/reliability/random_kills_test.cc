// SIGKILL at random moments of overwriting saves: of the process, and of its
// saver if another one saves.

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <new>
#include <random>
#include <string>
#include <thread>

#include "reliability/save_trials.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

/// Of a trainer and its saver.
enum class Victim : uint8_t { kTrainer, kSaver, kBoth };

/// A save in a child, which may have a saver.
class Child {
 public:
  explicit Child(SaveTrials& trials) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    trials.OnBegin([this](int saver) { *saver_ = saver; });
    ::_exit(trials.SaveOther());
  }
  ~Child() { ::munmap(saver_, sizeof(*saver_)); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  /// 0 as long as it has none.
  pid_t saver() const { return *saver_; }

  /// Returns whether it saved, once its saver has ended, too.
  bool Saved() {
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == kSaved;
  }

 private:
  using SharedPid = std::atomic<pid_t>;

  static SharedPid* Share() {
    void* const memory =
        ::mmap(nullptr, sizeof(SharedPid), PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return new (memory) SharedPid(0);
  }

  SharedPid* const saver_ = Share();
  pid_t pid_ = 0;
};

/// A save of which processes are killed after `delay`; whether that was before
/// its end.
bool KillAfter(SaveTrials& trials, Microseconds delay, Victim victim) {
  Child child(trials);
  std::this_thread::sleep_for(delay);
  const pid_t saver = child.saver();
  if (victim != Victim::kSaver || saver == 0) ::kill(child.pid(), SIGKILL);
  if (victim != Victim::kTrainer && saver != 0) ::kill(saver, SIGKILL);
  return !child.Saved();
}

/// The time of a save in a child that is left alone.
Microseconds TimeOf(SaveTrials& trials) {
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(Child(trials).Saved());
  trials.Keep(Found::kNew);
  return std::chrono::steady_clock::now() - begin;
}

TEST_CASE("kill -9 at any moment leaves the old checkpoint or the new one",
          "[R2]") {
  constexpr uint64_t kSeed = 2;
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // a saver outlives its trainer
  std::vector<SaveKind> kinds = AllAndAsyncSaveKinds();
  kinds.push_back({.compression = Compression::kZstd});
  std::mt19937_64 random(kSeed);
  for (const SaveKind& kind : kinds) {
    const bool is_native = kind.format == FileFormat::kNative;
    const int64_t count = is_native ? Trials(27, 1800) : Trials(8, 600);
    SaveTrials trials(kind);
    Microseconds longest = TimeOf(trials);
    for (int i = 0; i < 4; ++i) longest = std::max(longest, TimeOf(trials));
    int64_t killed = 0;
    int64_t bad = 0;
    int64_t found_new = 0;
    while (killed < count) {
      std::uniform_real_distribution<double> delay(0, longest.count());
      const bool has_saver = kind.by == SaveBy::kProcess;
      const auto victim = has_saver ? Victim(random() % 3) : Victim::kTrainer;
      if (KillAfter(trials, Microseconds(delay(random)), victim)) ++killed;
      const Found found = trials.Look();
      const bool good = found == Found::kOld || found == Found::kNew;
      CHECK(good);
      bad += good ? 0 : 1;
      found_new += found == Found::kNew ? 1 : 0;
      trials.Keep(found);
    }
    CHECK(trials.SaveUndisturbed());
    CHECK(trials.Leftovers().empty());
    Report({.row = "R2",
            .trial = std::string("SIGKILL") +
                     (kind.by == SaveBy::kProcess
                          ? " of the trainer, its saver or both"
                          : "") +
                     " in an overwriting save, " + ToString(kind),
            .count = killed,
            .bad = bad,
            .seed = kSeed,
            .note = std::to_string(found_new) + " saves had been committed"});
  }
}

}  // namespace
}  // namespace dcp::testing
