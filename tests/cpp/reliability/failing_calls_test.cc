// System calls that fail, once or from then on, with every error that a file
// system has: a save that returns OK is on the disk; one that fails says which
// call, which file and why, and leaves the old checkpoint.

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "reliability/traced_saves.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

struct Failure {
  int64_t n = 1;  ///< call
  int error_number = EIO;
  bool from_then_on = false;  ///< all calls of that kind
};

struct Counts {
  int64_t trials = 0;
  int64_t bad = 0;
  int64_t saved = 0;
  int64_t failed = 0;
};

/// "write nothing" and "write half of it", among the errors.
constexpr int kZeroWrite = 0;
constexpr int kHalfWrite = -1;

struct Decider {
  const Failure& failure;
  long number = -1;  ///< of the call that fails

  Verdict operator()(const TracedCall& call) {
    if (call.stop != CallStop::kBefore) return {};
    if (call.n == failure.n) number = call.number;
    const bool fails =
        call.n == failure.n ||
        (failure.from_then_on && call.n > failure.n && call.number == number);
    if (!fails) return {};
    if (failure.error_number == kZeroWrite && !IsWrite(call.number)) return {};
    if (failure.error_number == kHalfWrite) {
      if (!IsWrite(call.number)) return {};
      return {Verdict::Action::kShorten};
    }
    return {Verdict::Action::kReturn, -failure.error_number};
  }
};

/// Whether what a save said and what is there agree.
bool Agree(const TraceResult& result, const SaveTrials& trials, Found found) {
  if (result.hung || !result.exit_code) return false;
  switch (*result.exit_code) {
    case kSaved:
      return trials.IsSaved();
    case kFailed:
      return found == Found::kOld;
    case kFailedInDoubt:
      return found == Found::kOld || found == Found::kNew;
    default:
      return false;
  }
}

/// Returns false when the save made fewer calls.
bool Try(SaveTrials& trials, const Failure& failure, Counts* counts) {
  Decider decide{failure};
  const TraceResult result = TraceSave(trials, std::ref(decide));
  if (decide.number < 0) {
    trials.Keep(trials.Look());
    return false;
  }
  const Found found = trials.Look();
  INFO("call " << failure.n << " (system call " << decide.number << ") fails "
               << (failure.from_then_on ? "from then on" : "once")
               << " with errno " << failure.error_number << "; exit code "
               << result.exit_code.value_or(-1) << ", hung " << result.hung
               << ", found " << int(found));
  const bool good = Agree(result, trials, found);
  CHECK(good);
  ++counts->trials;
  counts->bad += good ? 0 : 1;
  ++(result.exit_code == kSaved ? counts->saved : counts->failed);
  trials.Keep(found);
  CHECK(trials.SaveUndisturbed());
  return true;
}

/// Of a save's calls every how manieth fails.
int64_t StepOf(const SaveKind& kind) {
  const bool is_async = kind.by != SaveBy::kCaller;
  if (kind.format == FileFormat::kNative) return Trials(is_async ? 97 : 41, 1);
  // Their publication makes most of the calls, and is the same in each way,
  // whoever saves and however.
  const bool is_first =
      !is_async && kind.engine == IoEngineKind::kThreads &&
      (kind.file_count == 4 || kind.format == FileFormat::kSafetensorsOfRanks);
  return Trials(307, is_first ? 1 : 7);
}

TEST_CASE("a failing system call never makes a save lie", "[R6]") {
  const std::string trial = "each I/O call fails";
  if (const auto why = WhyNotTraced()) {
    ReportSkipped("R6", trial, *why);
    return;
  }
  constexpr std::array kErrors = {EIO,        ENOSPC,    EDQUOT, EINTR,
                                  EAGAIN,     ESTALE,    EROFS,  ENOMEM,
                                  kZeroWrite, kHalfWrite};
  int64_t first = 1;
  int64_t saved = 0;
  int64_t failed = 0;
  for (const SaveKind& kind : AllAndAsyncSaveKinds()) {
    const int64_t step = StepOf(kind);
    Counts counts;
    SaveTrials trials(kind);
    for (const int error_number : kErrors) {
      for (const bool from_then_on : {false, true}) {
        if (error_number == kZeroWrite && from_then_on) continue;
        if ((error_number == EINTR || error_number == EAGAIN) && from_then_on) {
          continue;  // no kernel interrupts every call
        }
        Failure failure{step == 1 ? 1 : first, error_number, from_then_on};
        while (Try(trials, failure, &counts)) failure.n += step;
        if (step > 1) first = first % step + 8;
      }
    }
    saved += counts.saved;
    failed += counts.failed;
    const bool is_every = step == 1 || Trials(0, 1) == 0;
    Report({.row = "R6",
            .trial = (is_every ? trial : "each 7th I/O call fails") +
                     " with 8 errors, a write of nothing and of half, " +
                     ToString(kind),
            .count = counts.trials,
            .bad = counts.bad,
            .note = std::to_string(counts.saved) + " saved all the same, " +
                    std::to_string(counts.failed) + " failed"});
  }
  CHECK(saved > 0);
  CHECK(failed > 0);
}

}  // namespace
}  // namespace dcp::testing
