#include "storage/lease.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "conformance/check_files.h"
#include "storage/directory_claim.h"
#include "testing/manual_clock.h"
#include "testing/no_lock_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::MustReadFile;

/// Twenty times as fast as the system's: a beat is a quarter of a second.
class FastClock final : public Clock {
 public:
  TimePoint Now() const override {
    return TimePoint(base_->Now().time_since_epoch() * kFactor);
  }
  void SleepFor(Duration duration) override {
    base_->SleepFor(duration / kFactor);
  }

 private:
  static constexpr int kFactor = 20;
  const std::shared_ptr<Clock> base_ = MakeSystemClock();
};

class LeaseFixture {
 protected:
  StatusOr<std::unique_ptr<Lease>> Take(const std::string& save_id) {
    return Lease::Take(fs_, clock_, "/lease", save_id);
  }

  std::shared_ptr<FileSystem> fs_ = MakeMemoryFileSystem();
  std::shared_ptr<Clock> clock_ = std::make_shared<FastClock>();
};

TEST_CASE_METHOD(LeaseFixture, "a lease that beats keeps others out",
                 "[lease]") {
  auto lease = Take("dcpcpp-a");
  REQUIRE(lease.ok());
  CHECK((*lease)->held());
  const Status busy = Take("dcpcpp-b").status();
  CHECK(busy.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(busy)),
             Catch::Contains("dcpcpp-a") && Catch::Contains("process"));
  CHECK((*lease)->held());
  lease->reset();
  CHECK_FALSE(fs_->Exists("/lease").value());
  auto next = Take("dcpcpp-b");
  REQUIRE(next.ok());
  CHECK_FALSE((*next)->was_abandoned());
}

TEST_CASE_METHOD(LeaseFixture, "a lease that stands still is taken over",
                 "[lease]") {
  REQUIRE(
      WriteFile(*fs_, "/lease", "of one who is dead", SyncMode::kNone).ok());
  auto lease = Take("dcpcpp-b");
  REQUIRE(lease.ok());
  CHECK((*lease)->was_abandoned());
  CHECK((*lease)->held());
}

/// Time that passes when somebody sleeps; `look` sees it before it does.
class SleepersClock final : public Clock {
 public:
  explicit SleepersClock(std::function<void(Duration)> look)
      : look_(std::move(look)) {}

  TimePoint Now() const override { return base_.Now(); }
  void SleepFor(Duration duration) override {
    look_(Now().time_since_epoch());
    base_.SleepFor(duration);
  }

 private:
  const std::function<void(Duration)> look_;
  testing::ManualClock base_{testing::SleepMode::kAdvances};
};

TEST_CASE("a holder is dead after three beats of the taker's clock",
          "[lease]") {
  const std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  const std::string dead = "of one who is dead";
  REQUIRE(WriteFile(*fs, "/lease", dead, SyncMode::kNone).ok());
  std::optional<Clock::Duration> replaced;
  const auto clock =
      std::make_shared<SleepersClock>([&](Clock::Duration passed) {
        // The lease that was taken has a thread that sleeps, too.
        if (replaced || MustReadFile(*fs, "/lease") == dead) return;
        replaced = passed;
      });
  const auto lease = Lease::Take(fs, clock, "/lease", "dcpcpp-b");
  REQUIRE(lease.ok());
  CHECK(replaced == 3 * kLeaseBeat);
}

TEST_CASE("a holder that beats late, but within three beats, is alive",
          "[lease]") {
  const std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  REQUIRE(WriteFile(*fs, "/lease", "count 1", SyncMode::kNone).ok());
  const auto clock =
      std::make_shared<SleepersClock>([&](Clock::Duration passed) {
        if (passed < 3 * kLeaseBeat - std::chrono::milliseconds(100)) return;
        REQUIRE(fs->Remove("/lease").ok());
        REQUIRE(WriteFile(*fs, "/lease", "count 2", SyncMode::kNone).ok());
      });
  const auto lease = Lease::Take(fs, clock, "/lease", "dcpcpp-b");
  CHECK(lease.status().code() == absl::StatusCode::kAborted);
  CHECK(MustReadFile(*fs, "/lease") == "count 2");
  CHECK(clock->Now().time_since_epoch() == 3 * kLeaseBeat);
}

TEST_CASE_METHOD(LeaseFixture, "who lost the lease learns it and leaves it",
                 "[lease]") {
  auto lease = Take("dcpcpp-a");
  REQUIRE(lease.ok());
  REQUIRE(fs_->Remove("/lease").ok());
  REQUIRE(WriteFile(*fs_, "/lease", "of another", SyncMode::kNone).ok());
  CHECK_FALSE((*lease)->held());
  lease->reset();
  CHECK(MustReadFile(*fs_, "/lease") == "of another");
}

TEST_CASE("a directory without locks is claimed by a lease", "[lease]") {
  const auto fs =
      std::make_shared<testing::NoLockFileSystem>(MakeMemoryFileSystem());
  const auto clock = std::make_shared<FastClock>();
  const ClaimRequest request{.directory = "/", .save_id = "dcpcpp-a"};
  auto claim = ClaimDirectory(fs, clock, request);
  REQUIRE(claim.ok());
  CHECK(fs->Exists("/.dcpcpp.lease").value());
  CHECK((*claim)->Check().ok());
  CHECK(ClaimDirectory(fs, clock, request).status().code() ==
        absl::StatusCode::kAborted);
  ClaimRequest rank = request;
  rank.use_collectives = false;
  rank.rank = 3;
  CHECK(ClaimDirectory(fs, clock, rank).ok());
  REQUIRE(fs->Remove("/.dcpcpp.lease").ok());
  CHECK((*claim)->Check().code() == absl::StatusCode::kAborted);
}

TEST_CASE("a directory with locks is claimed by one", "[lease]") {
  const auto fs = MakeMemoryFileSystem();
  const auto clock = MakeSystemClock();
  const ClaimRequest request{.directory = "/", .save_id = "dcpcpp-a"};
  auto claim = ClaimDirectory(fs, clock, request);
  REQUIRE(claim.ok());
  const Status busy = ClaimDirectory(fs, clock, request).status();
  CHECK(busy.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(busy)),
             Catch::Contains("another save is at work in /") &&
                 Catch::Contains("save dcpcpp-a of process"));
}

TEST_CASE("saves of all ranks and of single ones give way to each other",
          "[lease]") {
  const testing::TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  const auto clock = MakeSystemClock();
  const ClaimRequest all{.directory = directory.path(), .save_id = "dcpcpp-a"};
  ClaimRequest single = all;
  single.use_collectives = false;
  single.rank = 3;
  ClaimRequest other = single;
  other.rank = 4;
  auto second = ClaimDirectory(fs, clock, single);
  REQUIRE(second.ok());
  DCP_CHECK_OK(RequireNoOtherKind(*fs, single));
  const auto third = ClaimDirectory(fs, clock, other);
  REQUIRE(third.ok());
  DCP_CHECK_OK(RequireNoOtherKind(*fs, other));
  const auto first = ClaimDirectory(fs, clock, all);
  REQUIRE(first.ok());
  for (const ClaimRequest& late : {all, single, other}) {
    const Status busy = RequireNoOtherKind(*fs, late);
    CHECK(busy.code() == absl::StatusCode::kAborted);
    CHECK_THAT(std::string(Message(busy)),
               Catch::Contains("another save is at work in ") &&
                   Catch::Contains("save dcpcpp-a of process"));
  }
}

TEST_CASE("a dead rank's lock file keeps nobody out", "[lease]") {
  const testing::TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  DCP_CHECK_OK(WriteFile(*fs, directory.path() + "/.dcpcpp.3.lock",
                         "save dcpcpp-b", SyncMode::kNone));
  DCP_CHECK_OK(RequireNoOtherKind(
      *fs, {.directory = directory.path(), .save_id = "dcpcpp-a"}));
}

}  // namespace
}  // namespace dcp
