// Every request for memory, a mapping or a thread is refused once, in a save
// over an existing checkpoint, in a load, and in what looks at checkpoints: the
// call fails or does without, nothing crashes, nothing is lost or leaks, and
// the next save works.

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "allocation/failing_resources.h"
#include "base/guarded.h"
#include "checkpoint/rank_threads.h"
#include "dcp/clean.h"
#include "dcp/latest.h"
#include "dcp/staging.h"
#include "dcp/verify.h"
#include "reliability/save_trials.h"
#include "staging/buffer_cache.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

int64_t CountEntries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory),
                       std::filesystem::directory_iterator());
}

/// What a call may not leave behind.
struct Held {
  int64_t descriptors = CountEntries("/proc/self/fd");
  int64_t threads = CountEntries("/proc/self/task");

  bool operator==(const Held&) const = default;
};

/// Whether `condition` holds soon: the kernel takes its time to end the threads
/// of a ring that was closed.
template <typename Condition>
bool BecomesTrue(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// Whether `status` is a success, or says that there was not enough.
bool IsHonest(const Status& status) {
  if (status.ok()) return true;
  const auto failures = GetRankFailures(status);
  if (!failures) {
    return status.code() == absl::StatusCode::kResourceExhausted;
  }
  return std::all_of(failures->by_rank.begin(), failures->by_rank.end(),
                     [](const auto& failure) {
                       return failure.second.code() ==
                              absl::StatusCode::kResourceExhausted;
                     });
}

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t failed = 0;
};

/// Runs what `prepare()` returns, with the n-th request refused, for every
/// n-th until it makes fewer. `check` looks at what a call has left.
template <typename Prepare, typename Check>
Counts RefuseEach(Resource resource, int64_t step, const Prepare& prepare,
                  const Check& check) {
  Counts counts;
  for (int64_t n = 1;; n += step) {
    TrimKeptBuffers(0);  // or nothing is asked for
    const Held before;
    Status status;
    int64_t requests = 0;
    {
      auto call = prepare();
      const RefuseOne refusal(resource, n);
      status = call();
      requests = refusal.requests();
    }
    const bool honest = IsHonest(status);
    const bool tidy = BecomesTrue([&] { return Held() == before; });
    INFO(ToString(resource)
         << " " << n << " of " << requests << ": " << Message(status));
    CHECK(honest);
    CHECK(tidy);
    const bool right = check(!status.ok());
    CHECK(right);
    if (requests < n) return counts;
    ++counts.trials;
    counts.bad += honest && tidy && right ? 0 : 1;
    counts.failed += status.ok() ? 0 : 1;
  }
}

void ReportCounts(const std::string& trial, Resource resource,
                  const Counts& counts) {
  Report({.row = "R7",
          .trial = trial + ", each " + ToString(resource) + " fails once",
          .count = counts.trials,
          .bad = counts.bad,
          .note = std::to_string(counts.failed) + " failed, the others did "
                                                  "without"});
}

/// How far apart the requests are that fail: there are thousands of memory.
int64_t StepOf(Resource resource, int64_t quick) {
  return resource == Resource::kMemory ? Trials(quick, 1) : 1;
}

/// One way to save what is not in the directory.
struct SaveCall {
  const char* name;
  Status (*run)(const SaveTrials& trials, StorageWriter& writer,
                Transport& transport);
};

Status SavePlainly(const SaveTrials& trials, StorageWriter& writer,
                   Transport& transport) {
  return trials.TrySaveOther(writer, transport);
}

/// Its memory is not there yet.
Status SaveStaged(const SaveTrials& trials, StorageWriter& writer,
                  Transport& transport) {
  ReleaseStagingMemory();
  const auto entries = trials.OtherEntries();
  return Guarded([&] {
    return Save(StagedState::Begin({entries.begin(), entries.end()}, nullptr,
                                   {}),
                writer, transport, {})
        .status();
  });
}

void CheckSaves(const SaveKind& kind, Resource resource,
                const SaveCall& save = {"save", &SavePlainly}) {
  SaveTrials trials(kind);
  REQUIRE(trials.SaveUndisturbed());  // what is made once per process
  const Counts counts = RefuseEach(
      resource, StepOf(resource, 11),
      [&] {
        return [&, writer = trials.MakeWriter(),
                transport = MakeSingleProcessTransport()] {
          return save.run(trials, *writer, *transport);
        };
      },
      [&](bool failed) {
        const Found found = trials.Look();
        const bool right =
            found == Found::kNew || (failed && found == Found::kOld);
        trials.Keep(found);
        return right && trials.SaveUndisturbed() && trials.Leftovers().empty();
      });
  if (resource == Resource::kMemory) CHECK(counts.failed > 0);
  ReportCounts(std::string(save.name) + ", " + ToString(kind), resource,
               counts);
}

TEST_CASE("a save survives that every request is refused", "[R7]") {
  for (SaveKind kind : AllSaveKinds()) {
    if (kind.file_count > 1) continue;
    for (const Resource resource : RefusableResources()) {
      CheckSaves(kind, resource);
    }
  }
  CheckSaves({.compression = Compression::kZstd}, Resource::kMemory);
}

TEST_CASE("a staged save survives that every request is refused", "[R7]") {
  for (const Resource resource : RefusableResources()) {
    CheckSaves({}, resource, {"staged save", &SaveStaged});
  }
}

/// A checkpoint on a disk, and memory to load it to.
struct Loaded {
  explicit Loaded(const SaveKind& kind) {
    place.writer.compression = kind.compression;
    place.reader.io = ModestIo(kind.engine);
    RequireAllSucceed(SaveOnRanks(Sharded(state, 1), NativeStorage(place)));
  }

  /// A call that loads everything, into `wanted` and `result`.
  auto PrepareLoad() {
    wanted = conformance::AllOf(state);
    return [this, reader = NativeStorage(place).make_reader(),
            transport = MakeSingleProcessTransport(),
            request = std::make_unique<WantedRequest>(wanted)] {
      auto loaded = Load(*request, *reader, *transport, {});
      if (loaded.ok()) result = *std::move(loaded);
      return loaded.status();
    };
  }

  bool IsRight() {
    WantedRequest(wanted).TakeObjects(result);
    return AllRight(state, wanted);
  }

  const TempDirectory directory;
  NativePlace place{.fs = MakePosixFileSystem(),
                    .directory = directory.path() + "/step-1"};
  const conformance::State state = LargerStates().old_state;
  std::vector<conformance::Wanted> wanted;
  LoadResult result;
};

TEST_CASE("a load survives that every request is refused", "[R7]") {
  std::vector<SaveKind> kinds = AllSaveKinds();
  kinds.push_back({.compression = Compression::kZstd});
  for (const SaveKind& kind : kinds) {
    if (kind.file_count > 1) continue;
    Loaded loaded(kind);
    DCP_CHECK_OK(loaded.PrepareLoad()());
    for (const Resource resource : RefusableResources()) {
      const Counts counts = RefuseEach(
          resource, 1, [&] { return loaded.PrepareLoad(); },
          [&](bool failed) { return failed || loaded.IsRight(); });
      DCP_CHECK_OK(loaded.PrepareLoad()());
      CHECK(loaded.IsRight());
      ReportCounts("load, " + ToString(kind), resource, counts);
    }
  }
}

TEST_CASE("what looks at checkpoints survives refusals", "[R7]") {
  Loaded loaded({});
  const std::string root = loaded.directory.path();
  const std::string& path = loaded.place.directory;
  const auto always = [](bool) { return true; };
  const auto verify = [&] {
    return [&] { return Verify(path, {}, {}).status(); };
  };
  const auto find_latest = [&] {
    return [&] { return FindLatest(root, {}, {}).status(); };
  };
  const auto clean = [&] {
    return [&] { return CleanCheckpoint(path, {.dry_run = true}).status(); };
  };
  const auto open = [&] {
    return [&]() -> Status {
      DCP_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path));
      return checkpoint->ReadObject("step").status();
    };
  };
  for (const Resource resource : RefusableResources()) {
    ReportCounts("verify", resource, RefuseEach(resource, 1, verify, always));
    ReportCounts("latest", resource,
                 RefuseEach(resource, 1, find_latest, always));
    ReportCounts("clean", resource, RefuseEach(resource, 1, clean, always));
    ReportCounts("open, and read an object", resource,
                 RefuseEach(resource, 1, open, always));
  }
}

TEST_CASE("saves that run out of memory leak none", "[R7]") {
  SaveTrials trials({});
  REQUIRE(trials.SaveUndisturbed());
  int64_t bad = 0;
  int64_t count = 0;
  bool refused = true;
  for (int64_t n = 1; refused; n += Trials(7, 3), ++count) {
    const int64_t before = LiveAllocations();
    {
      const auto writer = trials.MakeWriter();
      const auto transport = MakeSingleProcessTransport();
      const RefuseOne refusal(Resource::kMemory, n);
      (void)trials.TrySaveOther(*writer, *transport);
      refused = refusal.requests() >= n;
    }
    const int64_t leaked = LiveAllocations() - before;
    INFO("allocation " << n << ": " << leaked << " leaked");
    CHECK(leaked == 0);
    bad += leaked == 0 ? 0 : 1;
    trials.Keep(trials.Look());
    // Leftovers that no memory was there to list would be listed by the next.
    CHECK(trials.SaveUndisturbed());
  }
  Report({.row = "R7",
          .trial = "allocations that are left of a failed save",
          .count = count,
          .bad = bad});
}

}  // namespace
}  // namespace dcp::testing
