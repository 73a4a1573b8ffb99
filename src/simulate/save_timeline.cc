#include "simulate/save_timeline.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

#include "checkpoint/verdict.h"

namespace dcp {
namespace {

// What a rank's results take (checkpoint/write_outcome_codec.cc), about: an
// item, and the CRC-32 of a mebibyte.
constexpr double kItemNbytes = 32;
constexpr double kBlockNbytes = 4.0 / (1 << 20);
// What a verdict leaves of metadata (checkpoint/verdict.h), about.
constexpr double kPackedShare = 0.05;

}  // namespace

SaveMeetings::SaveMeetings(const SaveWork& work,
                           const SaveSimulationOptions& options)
    : work_(work),
      costs_(options.costs),
      options_(options),
      others_(static_cast<double>(work.written_nbytes.size()) - 1) {}

double SaveMeetings::Seen(double since, double seconds) const {
  return seconds + std::min((seconds - since) / 8, costs_.poll) / 2;
}

double SaveMeetings::Round() const {
  return costs_.latency + others_ * costs_.message;
}

double SaveMeetings::Transfer(double nbytes) const {
  const double rate = options_.rates.messages;
  return rate > 0 ? nbytes / rate : 0;
}

std::vector<double> SaveMeetings::Planned() const {
  const double items = static_cast<double>(work_.items) * costs_.item;
  std::vector<double> planned(work_.written_nbytes.size(),
                              costs_.start + items);
  if (others_ == 0) return planned;
  // Arrival, and each exchange of planning, are a message and an answer.
  const double exchanges =
      1 +
      std::ceil(static_cast<double>(work_.planning.messages) / (2 * others_));
  const double decided = costs_.start + items + (2 * exchanges - 1) * Round() +
                         Transfer(static_cast<double>(work_.planning.nbytes));
  for (size_t rank = 1; rank < planned.size(); ++rank) {
    const double sent =
        decided + static_cast<double>(rank) * costs_.message + costs_.latency;
    planned[rank] = Seen(costs_.start, sent);
  }
  planned[0] = decided + others_ * costs_.message;
  return planned;
}

void SaveMeetings::Meet(SaveTimeline* timeline) const {
  const std::vector<double>& written = timeline->written;
  timeline->met = written;
  if (others_ == 0) return;
  const double all =
      *std::max_element(written.begin(), written.end()) + costs_.latency;
  for (size_t rank = 0; rank < written.size(); ++rank) {
    timeline->met[rank] =
        all == kNever ? kNever : Seen(written[rank] + costs_.latency, all);
  }
}

double SaveMeetings::Gathered(const SaveTimeline& timeline) const {
  double seconds = timeline.met[0];
  for (size_t rank = 1; rank < timeline.met.size(); ++rank) {
    seconds =
        std::max(seconds, timeline.met[rank] + costs_.latency) + costs_.message;
  }
  const double nbytes = static_cast<double>(std::accumulate(
      work_.written_nbytes.begin(), work_.written_nbytes.end(), int64_t{0}));
  const double items = static_cast<double>(work_.items);
  return seconds + Transfer(items * kItemNbytes + nbytes * kBlockNbytes) +
         items * costs_.item;
}

void SaveMeetings::Publish(SaveTimeline* timeline) const {
  const double nbytes = static_cast<double>(work_.metadata_nbytes);
  timeline->published =
      Gathered(*timeline) + nbytes * costs_.metadata_byte + costs_.publish;
  timeline->ended.assign(timeline->met.size(), timeline->published);
  if (others_ == 0) return;
  const bool is_packed = nbytes >= static_cast<double>(kMinPackedNbytes);
  const double each =
      costs_.message + Transfer(is_packed ? nbytes * kPackedShare : nbytes);
  double last = timeline->published;
  for (size_t rank = 1; rank < timeline->ended.size(); ++rank) {
    last = Seen(timeline->met[rank], timeline->published + costs_.latency +
                                         static_cast<double>(rank) * each);
    timeline->ended[rank] = last;
  }
  // Its process serves the Store, so it stays for them, but not for ever.
  timeline->ended[0] =
      std::min(last, timeline->published + options_.timeouts.heartbeat);
}

void SaveMeetings::Refuse(double seconds, SaveTimeline* timeline) const {
  timeline->published = kNever;
  timeline->ended.assign(timeline->met.size(),
                         seconds + others_ * costs_.message);
  for (size_t rank = 1; rank < timeline->ended.size(); ++rank) {
    const double told =
        seconds + costs_.latency + static_cast<double>(rank) * costs_.message;
    timeline->ended[rank] = Seen(timeline->met[rank], told);
  }
}

SaveTimeline MakeTimeline(const SaveWork& work,
                          const SaveSimulationOptions& options,
                          const WriteConditions& conditions) {
  const SaveMeetings meetings(work, options);
  SaveTimeline timeline{.planned = conditions.planned};
  WriteTimes writes = SimulateWrites(work, options, conditions);
  timeline.staged = std::move(writes.staged);
  timeline.written = std::move(writes.written);
  meetings.Meet(&timeline);
  meetings.Publish(&timeline);
  return timeline;
}

}  // namespace dcp
