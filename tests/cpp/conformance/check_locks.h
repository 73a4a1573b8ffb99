// The part of the file system conformance suite that is about locks.

#ifndef DCP_TESTS_CONFORMANCE_CHECK_LOCKS_H_
#define DCP_TESTS_CONFORMANCE_CHECK_LOCKS_H_

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "conformance/check_files.h"

namespace dcp::conformance {

inline void CheckOneHolder(FileSystem& fs, const std::string& path) {
  auto first = fs.Lock(path, "the first");
  INFO(Message(first.status()));
  REQUIRE(first.ok());
  CHECK((*first)->Check().ok());
  CHECK_FALSE((*first)->was_abandoned());
  const auto second = fs.Lock(path, "the second");
  REQUIRE(second.status().code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(second.status())),
             Catch::Contains(path) && Catch::Contains("the first"));
  CHECK(fs.Lock(path + "2", "another").ok());
  first->reset();
  CHECK(fs.Lock(path, "the second").ok());
  CHECK_FALSE(fs.Exists(path).value());
}

inline void CheckOwner(FileSystem& fs, const std::string& path) {
  const auto nobody = fs.LockOwner(path);
  INFO(Message(nobody.status()));
  REQUIRE(nobody.ok());
  CHECK_FALSE(nobody->has_value());
  CHECK_FALSE(fs.Exists(path).value());
  auto lock = fs.Lock(path, "the owner");
  REQUIRE(lock.ok());
  const auto owner = fs.LockOwner(path);
  REQUIRE(owner.ok());
  CHECK(*owner == "the owner");
  CHECK((*lock)->Check().ok());
  lock->reset();
  CHECK(fs.LockOwner(path).value() == std::nullopt);
}

inline void CheckRacingHolders(FileSystem& fs, const std::string& path) {
  constexpr size_t kThreads = 4;
  std::atomic<int> holders{0};
  std::atomic<int> most{0};
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto lock = fs.Lock(path, "a thread");
        if (!lock.ok()) continue;
        const int now = ++holders;
        if (now > most.load()) most = now;
        ++taken;
        --holders;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(taken.load() > 0);
  CHECK(most.load() == 1);
}

inline void CheckLocks(const FileSystemUnderTest& under_test) {
  FileSystem& fs = *under_test.fs;
  const std::string path = JoinPath(under_test.directory, "lock");
  if (fs.Lock(path, "probe").status().code() ==
      absl::StatusCode::kUnimplemented) {
    return;  // allowed: see FileSystem::Lock
  }
  SECTION("a lock has one holder") { CheckOneHolder(fs, path); }
  SECTION("whoever asks learns who has a lock") { CheckOwner(fs, path); }
  SECTION("a lock has one holder in a race") { CheckRacingHolders(fs, path); }
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_CHECK_LOCKS_H_
