// Who notices what, and when (python/dcpcpp/_presence.py,
// checkpoint/COMMIT.md):
//
// 1. Of a process that ended the others of its node know when they look next,
//    and of the coordinator's all, whose connections to the Store end.
// 2. Whoever else gives no sign of life is gone for the others when that has
//    lasted for the heartbeat's timeout. The last sign was the one before.
// 3. Who finds a rank gone tells all, who raise when they look next, whatever
//    they do; but for the coordinator while it publishes.
// 4. Nothing is published without the results of all ranks. If they were sent,
//    or the coordinator was through, it is, and those who had no verdict yet
//    raise in spite of it.
// 5. Storage that hangs is an error of its own ranks after a timeout of its
//    own; they meet the others as always, and all learn of it from the
//    coordinator.

#include "simulate/save_failure.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <variant>

namespace dcp {
namespace {

struct RankRange {
  size_t begin = 0;
  size_t end = 0;

  bool Has(size_t rank) const { return rank >= begin && rank < end; }
};

RankRange RanksOf(const SaveFailure& failure, int64_t ranks_per_node,
                  size_t ranks) {
  const auto number = static_cast<size_t>(failure.number);
  if (failure.kind == SaveFailureKind::kKilled ||
      failure.kind == SaveFailureKind::kHung) {
    return {.begin = number, .end = number + 1};
  }
  const auto each = static_cast<size_t>(ranks_per_node);
  return {.begin = number * each, .end = std::min((number + 1) * each, ranks)};
}

double MostOf(const std::vector<double>& values, const RankRange& of) {
  return *std::max_element(values.begin() + static_cast<ptrdiff_t>(of.begin),
                           values.begin() + static_cast<ptrdiff_t>(of.end));
}

double SecondsOf(const SaveFailure& failure, const SaveTimeline& timeline,
                 const RankRange& gone) {
  if (const auto* seconds = std::get_if<double>(&failure.at)) return *seconds;
  const double last = MostOf(timeline.written, gone);
  size_t rank = gone.begin;  // the first of these to have written last
  while (timeline.written[rank] < last) ++rank;
  switch (std::get<SavePhase>(failure.at)) {
    case SavePhase::kPlan:
      return timeline.planned[rank] / 2;
    case SavePhase::kWrite:
      return (timeline.planned[rank] + timeline.written[rank]) / 2;
    case SavePhase::kMeet:
      return (timeline.written[rank] + timeline.met[rank]) / 2;
    case SavePhase::kCommit:
      break;
  }
  return (timeline.met[rank] + timeline.ended[rank]) / 2;
}

class Disturbance {
 public:
  Disturbance(const SaveWork& work, const SaveSimulationOptions& options,
              const WriteConditions& conditions, const SaveTimeline& timeline)
      : work_(work),
        options_(options),
        conditions_(conditions),
        before_(timeline),
        failure_(options.failure.value_or(SaveFailure())),
        gone_(RanksOf(failure_, options.ranks_per_node, timeline.ended.size())),
        seconds_(SecondsOf(failure_, timeline, gone_)) {
    result_.timeline = timeline;
    result_.is_gone.assign(timeline.ended.size(), false);
  }

  DisturbedSave Run() && {
    if (failure_.kind == SaveFailureKind::kNodeStalls) {
      Stall();
    } else if (seconds_ < MostOf(before_.ended, gone_)) {
      Lose();
    }
    return std::move(result_);
  }

 private:
  bool coordinator_is_gone() const { return gone_.begin == 0; }

  /// The ranks write as before, but for those whom it concerns.
  void WriteAgain() {
    std::fill(conditions_.stops.begin() + static_cast<ptrdiff_t>(gone_.begin),
              conditions_.stops.begin() + static_cast<ptrdiff_t>(gone_.end),
              seconds_);
    WriteTimes writes = SimulateWrites(work_, options_, conditions_);
    result_.timeline.staged = std::move(writes.staged);
    result_.timeline.written = std::move(writes.written);
  }

  void Note(double noticed) {
    SaveLoss loss{.ranks = static_cast<int64_t>(gone_.end - gone_.begin),
                  .seconds = seconds_,
                  .noticed = noticed};
    for (size_t rank = 0; rank < before_.ended.size(); ++rank) {
      const bool writes = result_.timeline.written[rank] > noticed;
      if (!gone_.Has(rank) && writes) ++loss.writing;
    }
    result_.loss = loss;
  }

  void Stall() {
    const bool stops_writing = seconds_ < MostOf(before_.written, gone_);
    const bool stops_commit =
        coordinator_is_gone() && seconds_ < before_.published;
    if (!stops_writing && !stops_commit) return;
    WriteAgain();
    const double found = seconds_ + options_.timeouts.stall;
    SaveTimeline& timeline = result_.timeline;
    if (options_.is_async) timeline.staged = before_.staged;
    for (size_t rank = gone_.begin; rank < gone_.end; ++rank) {
      double& written = timeline.written[rank];
      if (written == kNever) written = found;
      timeline.staged[rank] = std::min(timeline.staged[rank], written);
    }
    Note(found);
    const SaveMeetings meetings(work_, options_);
    meetings.Meet(&timeline);
    meetings.Refuse(std::max(meetings.Gathered(timeline), found), &timeline);
    result_.end = SaveEnd::kFailed;
  }

  double Noticed() const {
    const bool has_ended = failure_.kind == SaveFailureKind::kKilled;
    const auto each = static_cast<size_t>(options_.ranks_per_node);
    const size_t first = gone_.begin / each * each;
    const size_t of_node = std::min(first + each, before_.ended.size()) - first;
    if (has_ended && (coordinator_is_gone() || of_node > 1)) {
      return seconds_ + options_.timeouts.look;
    }
    const double patience = options_.timeouts.heartbeat;
    const double beat = std::min(1.0, patience / 5);
    return std::floor(seconds_ / beat) * beat + patience;
  }

  /// Whether the coordinator publishes all the same.
  bool IsPublished() const {
    return coordinator_is_gone() ? seconds_ >= before_.published
                                 : seconds_ >= MostOf(before_.met, gone_);
  }

  void Lose() {
    const bool stops_planning = seconds_ < MostOf(before_.planned, gone_);
    for (double& planned : conditions_.planned) {
      if (stops_planning && planned > seconds_) planned = kNever;
    }
    WriteAgain();
    SaveTimeline& timeline = result_.timeline;
    timeline.planned = conditions_.planned;
    if (seconds_ < MostOf(before_.written, gone_)) {
      timeline.met.assign(timeline.met.size(), kNever);
    }
    const double noticed = Noticed();
    Note(noticed);
    EndAll(noticed + options_.timeouts.look);
  }

  /// Those who live learn of it at `told`.
  void EndAll(double told) {
    const bool is_published = IsPublished();
    if (!is_published) result_.timeline.published = kNever;
    // The last moment at which a verdict can be had.
    const double until = coordinator_is_gone() ? seconds_ : told;
    bool all_know = is_published;
    for (size_t rank = 0; rank < before_.ended.size(); ++rank) {
      result_.is_gone[rank] = gone_.Has(rank);
      if (gone_.Has(rank)) continue;
      if (is_published && before_.ended[rank] <= until) continue;
      all_know = false;
      const bool publishes = rank == 0 && is_published;
      LeaveAt(rank, publishes ? std::max(told, before_.published) : told);
    }
    if (!is_published) {
      result_.end = SaveEnd::kFailed;
    } else if (!all_know) {
      result_.end = SaveEnd::kInDoubt;
    }
  }

  void LeaveAt(size_t rank, double seconds) {
    SaveTimeline& timeline = result_.timeline;
    timeline.ended[rank] = seconds;
    for (std::vector<double>* times : {&timeline.planned, &timeline.staged,
                                       &timeline.written, &timeline.met}) {
      (*times)[rank] = std::min((*times)[rank], seconds);
    }
  }

  const SaveWork& work_;
  const SaveSimulationOptions& options_;
  WriteConditions conditions_;
  const SaveTimeline& before_;
  const SaveFailure failure_;
  const RankRange gone_;
  const double seconds_;
  DisturbedSave result_;
};

}  // namespace

DisturbedSave Disturb(const SaveWork& work,
                      const SaveSimulationOptions& options,
                      const WriteConditions& conditions,
                      const SaveTimeline& timeline) {
  return Disturbance(work, options, conditions, timeline).Run();
}

}  // namespace dcp
