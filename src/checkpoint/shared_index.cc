#include "checkpoint/shared_index.h"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "checkpoint/index_codec.h"
#include "checkpoint/rank_exchange.h"

namespace dcp {
namespace {

// First byte of the coordinator's message.
constexpr char kWhole = 'G';    // metadata of all ranks
constexpr char kOutline = 'O';  // the same without items
constexpr char kPerRank = 'R';  // every rank has its own
constexpr char kSame = 'S';     // nothing has changed
constexpr char kOther = 'N';    // a rank's own metadata have

StatusOr<std::string> MessageOf(const CheckpointOutline& read) {
  DCP_ASSIGN_OR_RETURN(const std::string encoded, EncodeIndex(read.index));
  return (read.lacks_items ? kOutline : kWhole) + encoded;
}

}  // namespace

StatusOr<bool> SharedIndex::Share() {
  DCP_ASSIGN_OR_RETURN(const std::string message,
                       BroadcastFrom(transport_, "plan", [this] {
                         return Guarded([this] { return ReadMessage(); });
                       }));
  if (message[0] == kPerRank) return false;
  if (transport_.world_size() > 1) DCP_RETURN_IF_ERROR(Take(message));
  return true;
}

/// Coordinator: the message of Share. Who is alone needs none.
StatusOr<std::string> SharedIndex::ReadMessage() {
  StatusOr<CheckpointOutline> read = Read();
  if (read.status().code() == absl::StatusCode::kNotFound &&
      reader_.ReadRankIndex(transport_.rank()).ok()) {
    return std::string(1, kPerRank);
  }
  DCP_RETURN_IF_ERROR(read.status());
  if (transport_.world_size() > 1) return MessageOf(*read);
  lacks_items_ = read->lacks_items;
  index_ = std::move(read->index);
  return std::string(1, kWhole);
}

StatusOr<CheckpointOutline> SharedIndex::Read() {
  if (outlining_ != nullptr) return outlining_->ReadOutline();
  DCP_ASSIGN_OR_RETURN(CheckpointIndex index, reader_.ReadIndex());
  return CheckpointOutline{.index = std::move(index)};
}

Status SharedIndex::Take(std::string_view message) {
  lacks_items_ = message[0] == kOutline;
  DCP_ASSIGN_OR_RETURN(index_, DecodeIndex(message.substr(1)));
  return absl::OkStatus();
}

StatusOr<bool> SharedIndex::ShareAgain() {
  DCP_ASSIGN_OR_RETURN(
      const std::string message,
      BroadcastFrom(transport_, "plan", [this] { return ReadNewMessage(); }));
  if (message[0] == kSame) return false;
  DCP_RETURN_IF_ERROR(Take(message));
  return true;
}

/// Coordinator: the message of ShareAgain.
StatusOr<std::string> SharedIndex::ReadNewMessage() {
  const StatusOr<CheckpointOutline> now = Read();
  if (!now.ok()) return std::string(1, kSame);
  DCP_ASSIGN_OR_RETURN(const bool is_same, IsSame(*now));
  if (is_same) return std::string(1, kSame);
  return MessageOf(*now);
}

/// Whether `read` is index_, without its paths, and with the items that were
/// added.
StatusOr<bool> SharedIndex::IsSame(const CheckpointOutline& read) const {
  if (read.lacks_items != lacks_items_) return false;
  // What came with an index is of one save, as its sidecar tells.
  if (lacks_items_) return read.index.storage_data == index_.storage_data;
  CheckpointIndex other = read.index;
  other.metadata.planner_data.reset();
  DCP_ASSIGN_OR_RETURN(const std::string theirs, EncodeIndex(other));
  DCP_ASSIGN_OR_RETURN(const std::string ours, EncodeIndex(index_));
  return theirs == ours;
}

Status SharedIndex::ReadOwn() {
  DCP_ASSIGN_OR_RETURN(index_, reader_.ReadRankIndex(transport_.rank()));
  return absl::OkStatus();
}

StatusOr<bool> SharedIndex::IsAnyOwnReplaced() {
  const auto look = [this]() -> StatusOr<std::string> {
    auto now = reader_.ReadRankIndex(transport_.rank());
    if (!now.ok()) return std::string(1, kSame);
    DCP_ASSIGN_OR_RETURN(const bool is_same,
                         IsSame({.index = *std::move(now)}));
    return std::string(1, is_same ? kSame : kOther);
  };
  DCP_ASSIGN_OR_RETURN(const std::string message,
                       AllReduce(transport_, "plan", Guarded(look),
                                 [](const std::vector<std::string>& found) {
                                   const bool any = std::any_of(
                                       found.begin(), found.end(),
                                       [](const std::string& of_rank) {
                                         return of_rank[0] == kOther;
                                       });
                                   return StatusOr<std::string>(
                                       std::string(1, any ? kOther : kSame));
                                 }));
  return message[0] == kOther;
}

Status SharedIndex::ReadItemsOf(std::span<const LoadEntry> entries) {
  if (!lacks_items_) return absl::OkStatus();
  std::vector<std::string_view> fqns;
  std::unordered_set<std::string_view> known;
  for (const LoadEntry& entry : entries) {
    if (known.insert(entry.fqn).second) fqns.push_back(entry.fqn);
  }
  return outlining_->ReadEntries(fqns, &index_.metadata);
}

}  // namespace dcp
