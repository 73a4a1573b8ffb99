#include "io/posix_lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "testing/temp_directory.h"

namespace dcp {
namespace {

/// A process that runs `body`, says so with a byte, and waits for its end.
class Child {
 public:
  template <typename Body>
  explicit Child(const Body& body) {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe(ends) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const bool good = body();
      const char answer = good ? 'y' : 'n';
      if (::write(ends[1], &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char answer = '?';
    CHECK(::read(ends[0], &answer, 1) == 1);
    good_ = answer == 'y';
    ::close(ends[0]);
  }
  ~Child() { Kill(); }

  bool good() const { return good_; }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  bool good_ = false;
};

TEST_CASE("the kernel frees the lock of a killed process", "[lock]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/lock";
  Child holder([&] {
    static std::unique_ptr<FileLock> lock;  // lives as long as the process
    auto locked = LockPosixFile(path, "process A");
    if (locked.ok()) lock = *std::move(locked);
    return lock != nullptr;
  });
  REQUIRE(holder.good());
  const Status busy = LockPosixFile(path, "process B").status();
  CHECK(busy.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(busy)), Catch::Contains("process A"));
  holder.Kill();
  auto lock = LockPosixFile(path, "process B");
  REQUIRE(lock.ok());
  CHECK((*lock)->was_abandoned());
  CHECK((*lock)->Check().ok());
}

TEST_CASE("a forked child neither keeps the lock nor frees it", "[lock]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/lock";
  auto lock = LockPosixFile(path, "the parent");
  REQUIRE(lock.ok());
  const Child child([&] {
    const bool held = (*lock)->Check().ok();
    lock->reset();
    return !held;
  });
  CHECK(child.good());
  CHECK((*lock)->Check().ok());
  CHECK(LockPosixFile(path, "x").status().code() == absl::StatusCode::kAborted);
  lock->reset();  // the child is alive
  CHECK(LockPosixFile(path, "x").ok());
}

TEST_CASE("a lock whose file was taken away is not held", "[lock]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/lock";
  auto lock = LockPosixFile(path, "somebody");
  REQUIRE(lock.ok());
  std::filesystem::remove(path);
  CHECK_FALSE((*lock)->Check().ok());
  auto next = LockPosixFile(path, "somebody else");
  REQUIRE(next.ok());
  lock->reset();  // must leave the other's file alone
  CHECK((*next)->Check().ok());
}

TEST_CASE("what is not a lock's own file is refused", "[lock]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/lock";
  SECTION("a link, which is not followed") {
    const std::string victim = directory.path() + "/victim";
    std::filesystem::create_symlink(victim, path);
    CHECK_FALSE(LockPosixFile(path, "x").ok());
    CHECK_FALSE(std::filesystem::exists(victim));
  }
  SECTION("a hard link, through which nothing is written") {
    const std::string victim = directory.path() + "/victim";
    std::ofstream(victim) << "precious";
    std::filesystem::create_hard_link(victim, path);
    (void)LockPosixFile(path, "x");
    std::string kept;
    std::ifstream(victim) >> kept;
    CHECK(kept == "precious");
  }
  SECTION("a directory") {
    std::filesystem::create_directory(path);
    CHECK_FALSE(LockPosixFile(path, "x").ok());
  }
  SECTION("a directory that is missing") {
    CHECK(LockPosixFile(path + "/lock", "x").status().code() ==
          absl::StatusCode::kNotFound);
  }
}

}  // namespace
}  // namespace dcp
