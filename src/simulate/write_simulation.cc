#include "simulate/write_simulation.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "simulate/event_queue.h"
#include "simulate/shared_link.h"

namespace dcp {
namespace {

constexpr int64_t kMinUnit = int64_t{4} << 20;  // IoOptions::block_nbytes
constexpr int64_t kMostUnits = int64_t{1} << 22;
constexpr int64_t kFewestUnitsOfRank = 16;
constexpr int64_t kMostUnitsOfRank = 256;

/// What a unit waits for.
enum class Hop : uint8_t { kFill, kMemory, kNode, kStorage, kEnd };

Hop After(Hop hop) { return static_cast<Hop>(static_cast<int>(hop) + 1); }

/// A unit of this rank is through this hop.
struct Passed {
  uint32_t rank = 0;
  Hop hop = Hop::kFill;
};

struct WritingRank {
  int64_t units = 0;
  double unit_nbytes = 0;
  int64_t window = 0;  ///< units in flight
  int64_t begun = 0;
  int64_t done = 0;
};

class WriteSimulation {
 public:
  WriteSimulation(const SaveWork& work, const SaveSimulationOptions& options,
                  const WriteConditions& conditions)
      : work_(work),
        options_(options),
        conditions_(conditions),
        storage_(options.rates.storage) {
    const size_t ranks = work.written_nbytes.size();
    for (const double factor : conditions.node_factor) {
      memory_.emplace_back(options.rates.memory);
      node_.emplace_back(options.rates.node / factor);
    }
    times_.staged.assign(ranks, kNever);
    times_.written.assign(ranks, kNever);
    for (size_t rank = 0; rank < ranks; ++rank) AddRank(rank);
  }

  WriteTimes Run() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      BeginStaging(rank);
      if (ranks_[rank].units == 0) End(rank, conditions_.planned[rank]);
      Begin(rank, conditions_.planned[rank]);
    }
    while (!events_.is_empty()) {
      const auto next = events_.Next();
      if (next.seconds > conditions_.stops[next.event.rank]) continue;
      Pass(next.event.rank, After(next.event.hop), next.seconds);
    }
    return std::move(times_);
  }

 private:
  void AddRank(size_t rank) {
    const int64_t nbytes = work_.written_nbytes[rank];
    const int64_t most = std::clamp(
        kMostUnits / static_cast<int64_t>(work_.written_nbytes.size()),
        kFewestUnitsOfRank, kMostUnitsOfRank);
    const int64_t units = std::min((nbytes + kMinUnit - 1) / kMinUnit, most);
    WritingRank writing{.units = units};
    if (units > 0) {
      writing.unit_nbytes =
          static_cast<double>(nbytes) / static_cast<double>(units);
      writing.window = std::max<int64_t>(
          static_cast<int64_t>(static_cast<double>(options_.buffer_nbytes) /
                               writing.unit_nbytes),
          2);
    }
    ranks_.push_back(writing);
    const double factor = conditions_.rank_factor[rank];
    device_.emplace_back(options_.rates.device / factor);
    fill_.emplace_back(options_.rates.rank / factor);
  }

  size_t NodeOf(size_t rank) const {
    return rank / static_cast<size_t>(options_.ranks_per_node);
  }

  /// Notes when a rank has staged what does not depend on its buffers.
  void BeginStaging(size_t rank) {
    double staged = conditions_.planned[rank];
    if (options_.is_async) {
      staged = StagedBy(rank, ranks_[rank].units);
    } else if (device_[rank].has_limit() && ranks_[rank].units > 0) {
      return;
    }
    if (staged <= conditions_.stops[rank]) times_.staged[rank] = staged;
  }
  /// When an asynchronous save has staged so many of a rank's units: they lie
  /// evenly in what it holds.
  double StagedBy(size_t rank, int64_t units) const {
    const double rate = options_.rates.device / conditions_.rank_factor[rank];
    if (rate <= 0) return 0;
    double share = 1;
    if (ranks_[rank].units > 0) {
      share =
          static_cast<double>(units) / static_cast<double>(ranks_[rank].units);
    }
    return share * static_cast<double>(work_.held_nbytes[rank]) / rate;
  }
  /// When the unit that is begun `now` is staged.
  double Stage(size_t rank, double now) {
    const WritingRank& writing = ranks_[rank];
    if (options_.is_async) {
      return std::max(now, StagedBy(rank, writing.begun));
    }
    const double staged = device_[rank].Move(now, writing.unit_nbytes);
    const bool is_last = writing.begun == writing.units;
    if (is_last && device_[rank].has_limit() &&
        staged <= conditions_.stops[rank]) {
      times_.staged[rank] = staged;
    }
    return staged;
  }

  /// Has the rank fill units as long as it has buffers.
  void Begin(size_t rank, double now) {
    WritingRank& writing = ranks_[rank];
    while (writing.begun < writing.units &&
           writing.begun - writing.done < writing.window) {
      ++writing.begun;
      const double staged = Stage(rank, now);
      events_.Add(fill_[rank].Move(staged, writing.unit_nbytes),
                  {.rank = static_cast<uint32_t>(rank), .hop = Hop::kFill});
    }
  }

  SharedLink* LinkOf(size_t rank, Hop hop) {
    switch (hop) {
      case Hop::kMemory:
        return &memory_[NodeOf(rank)];
      case Hop::kNode:
        return &node_[NodeOf(rank)];
      default:
        return &storage_;
    }
  }

  /// A unit comes to `hop`.
  void Pass(size_t rank, Hop hop, double now) {
    for (; hop != Hop::kEnd; hop = After(hop)) {
      SharedLink* const link = LinkOf(rank, hop);
      if (!link->has_limit()) continue;
      events_.Add(link->Move(now, ranks_[rank].unit_nbytes),
                  {.rank = static_cast<uint32_t>(rank), .hop = hop});
      return;
    }
    WritingRank& writing = ranks_[rank];
    ++writing.done;
    if (writing.done == writing.units) {
      End(rank, now);
    } else {
      Begin(rank, now);
    }
  }

  /// The rank's file is to be synced, if it has one.
  void End(size_t rank, double now) {
    const double written =
        now + (ranks_[rank].units > 0 ? options_.costs.file : 0);
    if (written > conditions_.stops[rank]) return;
    times_.written[rank] = written;
  }

  const SaveWork& work_;
  const SaveSimulationOptions& options_;
  const WriteConditions& conditions_;
  std::vector<WritingRank> ranks_;
  std::vector<SharedLink> device_;  // by rank
  std::vector<SharedLink> fill_;
  std::vector<SharedLink> memory_;  // by node
  std::vector<SharedLink> node_;
  SharedLink storage_;
  EventQueue<Passed> events_;
  WriteTimes times_;
};

}  // namespace

WriteTimes SimulateWrites(const SaveWork& work,
                          const SaveSimulationOptions& options,
                          const WriteConditions& conditions) {
  return WriteSimulation(work, options, conditions).Run();
}

}  // namespace dcp
