#include "dcp/simulate_save.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "simulate/save_failure.h"
#include "simulate/save_timeline.h"
#include "simulate/spread.h"

namespace dcp {
namespace {

int64_t NodesOf(const SaveWork& work, const SaveSimulationOptions& options) {
  const auto ranks = static_cast<int64_t>(work.written_nbytes.size());
  return (ranks + options.ranks_per_node - 1) / options.ranks_per_node;
}

Status CheckNumbers(const SaveSimulationOptions& options) {
  const SaveRates& rates = options.rates;
  const SaveCosts& costs = options.costs;
  for (const double value :
       {rates.device, rates.rank, rates.memory, rates.node, rates.storage,
        rates.messages, costs.start, costs.latency, costs.message, costs.poll,
        costs.file, costs.item, costs.metadata_byte, costs.publish,
        options.timeouts.look, options.timeouts.stall}) {
    if (!std::isfinite(value) || value < 0) {
      return InvalidArgument("a rate or a time must be 0 or more, not " +
                             std::to_string(value));
    }
  }
  if (!(options.timeouts.heartbeat > 0 &&
        std::isfinite(options.timeouts.heartbeat)) ||
      options.buffer_nbytes < 1) {
    return InvalidArgument("a save needs a heartbeat and buffers");
  }
  return absl::OkStatus();
}

Status CheckMember(SaveMember who, int64_t number, const SaveWork& work,
                   const SaveSimulationOptions& options) {
  const auto ranks = static_cast<int64_t>(work.written_nbytes.size());
  const bool is_rank = who == SaveMember::kRank;
  const int64_t count = is_rank ? ranks : NodesOf(work, options);
  if (number >= 0 && number < count) return absl::OkStatus();
  return InvalidArgument(
      "there is no " + std::string(is_rank ? "rank " : "node ") +
      std::to_string(number) + " of " + std::to_string(count));
}

Status CheckDisturbances(const SaveWork& work,
                         const SaveSimulationOptions& options) {
  const auto is_factor = [](double factor) {
    return std::isfinite(factor) && factor >= 1;
  };
  for (const Slowdown& slow : options.slow) {
    DCP_RETURN_IF_ERROR(CheckMember(slow.who, slow.number, work, options));
    if (!is_factor(slow.factor)) {
      return InvalidArgument("who is slow is so at least once, not " +
                             std::to_string(slow.factor) + " times");
    }
  }
  if (!is_factor(options.straggler_factor) || options.stragglers < 0 ||
      options.stragglers > static_cast<int64_t>(work.written_nbytes.size())) {
    return InvalidArgument(
        "a save has from 0 to all of its ranks as "
        "stragglers, each at least once as slow");
  }
  if (!options.failure) return absl::OkStatus();
  const SaveFailure& failure = *options.failure;
  const auto* seconds = std::get_if<double>(&failure.at);
  if (seconds != nullptr && !(std::isfinite(*seconds) && *seconds >= 0)) {
    return InvalidArgument("a failure comes 0 or more seconds after the begin");
  }
  const bool is_rank = failure.kind == SaveFailureKind::kKilled ||
                       failure.kind == SaveFailureKind::kHung;
  return CheckMember(is_rank ? SaveMember::kRank : SaveMember::kNode,
                     failure.number, work, options);
}

Status CheckWork(const SaveWork& work, const SaveSimulationOptions& options) {
  const size_t ranks = work.written_nbytes.size();
  if (ranks == 0 || work.held_nbytes.size() != ranks ||
      options.ranks_per_node < 1) {
    return InvalidArgument(
        "a save needs a rank, what each writes and holds, and a rank a node");
  }
  for (size_t rank = 0; rank < ranks; ++rank) {
    if (work.written_nbytes[rank] < 0 ||
        work.held_nbytes[rank] < work.written_nbytes[rank]) {
      return InvalidArgument("rank " + std::to_string(rank) +
                             " holds less than it writes");
    }
  }
  return absl::OkStatus();
}

/// With nobody slow, and nothing lost.
WriteConditions EvenConditions(const SaveWork& work,
                               const SaveSimulationOptions& options) {
  const size_t ranks = work.written_nbytes.size();
  return {.planned = SaveMeetings(work, options).Planned(),
          .stops = std::vector<double>(ranks, kNever),
          .rank_factor = std::vector<double>(ranks, 1),
          .node_factor = std::vector<double>(
              static_cast<size_t>(NodesOf(work, options)), 1)};
}

/// Makes those slow who are; false if nobody is.
bool SlowDown(const SaveSimulationOptions& options,
              WriteConditions* conditions) {
  for (const Slowdown& slow : options.slow) {
    auto& factors = slow.who == SaveMember::kRank ? conditions->rank_factor
                                                  : conditions->node_factor;
    factors[static_cast<size_t>(slow.number)] = slow.factor;
  }
  std::mt19937_64 random(options.seed);
  std::set<uint64_t> drawn;
  while (static_cast<int64_t>(drawn.size()) < options.stragglers) {
    drawn.insert(random() % conditions->rank_factor.size());
  }
  for (const uint64_t rank : drawn) {
    conditions->rank_factor[rank] = options.straggler_factor;
  }
  return !options.slow.empty() || options.stragglers > 0;
}

/// Of living ranks, `end` less `begin`; an empty `begin` is 0.
SavePart PartOf(std::string name, const std::vector<bool>& is_gone,
                const std::vector<double>& end,
                const std::vector<double>& begin) {
  std::vector<double> seconds;
  for (size_t rank = 0; rank < end.size(); ++rank) {
    if (is_gone[rank]) continue;
    const double from = begin.empty() ? 0 : begin[rank];
    seconds.push_back(std::max(end[rank] - from, 0.0));
  }
  return {.name = std::move(name), .seconds = SpreadOf(std::move(seconds))};
}

std::vector<SavePart> PartsOf(const DisturbedSave& save, bool is_async) {
  const SaveTimeline& timeline = save.timeline;
  const std::vector<double> begin;
  const auto part = [&](const char* name, const std::vector<double>& to,
                        const std::vector<double>& from) {
    return PartOf(name, save.is_gone, to, from);
  };
  return {part("plan", timeline.planned, begin),
          part("stage", timeline.staged, is_async ? begin : timeline.planned),
          part("write", timeline.written, timeline.planned),
          part("meet", timeline.met, timeline.written),
          part("commit", timeline.ended, timeline.met),
          part("total", timeline.ended, begin),
          part("blocked", is_async ? timeline.staged : timeline.ended, begin)};
}

/// Fills what does not depend on time.
void AddBytes(const SaveWork& work, const SaveSimulationOptions& options,
              SaveSimulation* result) {
  result->ranks = static_cast<int64_t>(work.written_nbytes.size());
  result->nodes = NodesOf(work, options);
  std::vector<double> ranks;
  std::vector<double> nodes(static_cast<size_t>(result->nodes), 0);
  for (size_t rank = 0; rank < work.written_nbytes.size(); ++rank) {
    const int64_t nbytes = work.written_nbytes[rank];
    result->nbytes += nbytes;
    if (nbytes > 0) ++result->files;
    ranks.push_back(static_cast<double>(nbytes));
    nodes[rank / static_cast<size_t>(options.ranks_per_node)] += ranks.back();
  }
  result->rank_nbytes = SpreadOf(std::move(ranks));
  result->node_nbytes = SpreadOf(std::move(nodes));
}

void AddTimes(const DisturbedSave& save, const SaveSimulationOptions& options,
              SaveSimulation* result) {
  double last = -1;
  for (size_t rank = 0; rank < save.is_gone.size(); ++rank) {
    if (save.is_gone[rank]) continue;
    result->seconds = std::max(result->seconds, save.timeline.ended[rank]);
    if (save.timeline.written[rank] <= last) continue;
    last = save.timeline.written[rank];
    result->last_rank = static_cast<int64_t>(rank);
  }
  result->parts = PartsOf(save, options.is_async);
  result->end = save.end;
  result->loss = save.loss;
}

}  // namespace

StatusOr<SaveSimulation> SimulateSave(const SaveWork& work,
                                      const SaveSimulationOptions& options) {
  DCP_RETURN_IF_ERROR(CheckWork(work, options));
  DCP_RETURN_IF_ERROR(CheckNumbers(options));
  DCP_RETURN_IF_ERROR(CheckDisturbances(work, options));
  WriteConditions conditions = EvenConditions(work, options);
  SaveTimeline timeline = MakeTimeline(work, options, conditions);
  SaveSimulation result;
  result.even_seconds =
      *std::max_element(timeline.ended.begin(), timeline.ended.end());
  if (SlowDown(options, &conditions)) {
    timeline = MakeTimeline(work, options, conditions);
  }
  DisturbedSave save;
  if (options.failure) {
    save = Disturb(work, options, conditions, timeline);
  } else {
    save.is_gone.assign(timeline.ended.size(), false);
    save.timeline = std::move(timeline);
  }
  AddBytes(work, options, &result);
  AddTimes(save, options, &result);
  return result;
}

}  // namespace dcp
