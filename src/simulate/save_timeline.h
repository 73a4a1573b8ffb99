// SaveTimeline: when the ranks of a save were how far; SaveMeetings: what they
// wait for between one and the other.

#ifndef DCP_SIMULATE_SAVE_TIMELINE_H_
#define DCP_SIMULATE_SAVE_TIMELINE_H_

#include <vector>

#include "dcp/simulate_save.h"
#include "simulate/write_simulation.h"

namespace dcp {

/// Seconds since the begin, by rank; kNever for what did not come.
struct SaveTimeline {
  std::vector<double> planned;  ///< it knows what it writes
  std::vector<double> staged;
  std::vector<double> written;
  std::vector<double> met;    ///< it knows that all have written
  std::vector<double> ended;  ///< it has its verdict
  double published = kNever;  ///< `.metadata` is renamed
};

/// Messages between the coordinator, rank 0, and the others, as Save and
/// Python's transport send them: each goes through the coordinator, one at a
/// time. Immutable.
class SaveMeetings {
 public:
  /// Both must outlive it.
  SaveMeetings(const SaveWork& work, const SaveSimulationOptions& options);

  /// Ranks arrive, offer what they hold and learn what they write.
  std::vector<double> Planned() const;
  /// Those who have written wait for the others.
  void Meet(SaveTimeline* timeline) const;
  /// When the coordinator has what all have written.
  double Gathered(const SaveTimeline& timeline) const;
  /// It publishes that, and sends each rank `.metadata` as the result.
  void Publish(SaveTimeline* timeline) const;
  /// It has learned by `seconds` that something failed, and tells the others.
  void Refuse(double seconds, SaveTimeline* timeline) const;

 private:
  /// When who waits `since` then sees what is there at `seconds`, on average.
  double Seen(double since, double seconds) const;
  /// A message between the coordinator and each other rank, without what they
  /// say.
  double Round() const;
  double Transfer(double nbytes) const;

  const SaveWork& work_;
  const SaveCosts& costs_;
  const SaveSimulationOptions& options_;
  const double others_;
};

/// Of a save in which nothing fails.
SaveTimeline MakeTimeline(const SaveWork& work,
                          const SaveSimulationOptions& options,
                          const WriteConditions& conditions);

}  // namespace dcp

#endif  // DCP_SIMULATE_SAVE_TIMELINE_H_
