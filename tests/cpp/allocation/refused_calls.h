// Calls of which every request for memory, a mapping or a thread is refused
// once: they fail or do without, nothing crashes, and nothing is left behind.

#ifndef DCP_TESTS_ALLOCATION_REFUSED_CALLS_H_
#define DCP_TESTS_ALLOCATION_REFUSED_CALLS_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "allocation/failing_resources.h"
#include "dcp/status.h"
#include "staging/buffer_cache.h"
#include "testing/scoreboard.h"

namespace dcp::testing {

inline int64_t CountEntries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory),
                       std::filesystem::directory_iterator());
}

/// What a call may not leave behind.
struct Held {
  int64_t descriptors = CountEntries("/proc/self/fd");
  int64_t threads = CountEntries("/proc/self/task");
};

/// What is held beside calls. A ring of an earlier call may still be ending
/// when the next one begins, so it is the least that was seen.
class Baseline {
 public:
  /// To be called when no call runs; whether nothing more is held.
  bool IsReached() {
    const Held now;
    held_.descriptors = std::min(held_.descriptors, now.descriptors);
    held_.threads = std::min(held_.threads, now.threads);
    return now.descriptors == held_.descriptors && now.threads == held_.threads;
  }

 private:
  Held held_;
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
inline bool IsHonest(const Status& status) {
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
  TrimKeptBuffers(0);
  Baseline baseline;
  for (int64_t n = 1;; n += step) {
    TrimKeptBuffers(0);  // or nothing is asked for
    Status status;
    int64_t requests = 0;
    {
      auto call = prepare();
      const RefuseOne refusal(resource, n);
      status = call();
      requests = refusal.requests();
    }
    const bool honest = IsHonest(status);
    const bool tidy = BecomesTrue([&] { return baseline.IsReached(); });
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

inline void ReportCounts(const std::string& trial, Resource resource,
                         const Counts& counts) {
  Report({.row = "R7",
          .trial = trial + ", each " + ToString(resource) + " fails once",
          .count = counts.trials,
          .bad = counts.bad,
          .note = std::to_string(counts.failed) + " failed, the others did "
                                                  "without"});
}

/// How far apart the requests are that fail: there are thousands of memory.
inline int64_t StepOf(Resource resource, int64_t quick) {
  return resource == Resource::kMemory ? Trials(quick, 1) : 1;
}

}  // namespace dcp::testing

#endif  // DCP_TESTS_ALLOCATION_REFUSED_CALLS_H_
