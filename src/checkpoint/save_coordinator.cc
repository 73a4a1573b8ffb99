#include "checkpoint/save_coordinator.h"

#include <utility>

#include "checkpoint/write_outcome_codec.h"

namespace dcp {

StatusOr<std::vector<std::string>> SaveCoordinator::Plan(
    std::vector<std::string> messages) {
  std::vector<SavePlan> plans;
  std::vector<std::string> notes;
  for (std::string& message : messages) {
    DCP_ASSIGN_OR_RETURN(LocalPlan local, ParseLocalPlan(message));
    message = {};
    plans.push_back(std::move(local.plan));
    notes.push_back(std::move(local.notes));
  }
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> final_notes,
                       MakeGlobalPlan(std::move(plans), notes));
  std::vector<std::string> replies;
  for (size_t rank = 0; rank < plans_.size(); ++rank) {
    replies.push_back(SerializeLocalPlan(plans_[rank], final_notes[rank]));
  }
  return replies;
}

StatusOr<LocalPlan> SaveCoordinator::PlanAlone(const LocalPlan& local) {
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> notes,
                       MakeGlobalPlan({local.plan}, {&local.notes, 1}));
  return LocalPlan{.plan = plans_[0], .notes = notes[0]};
}

StatusOr<std::vector<std::string>> SaveCoordinator::MakeGlobalPlan(
    std::vector<SavePlan> plans, std::span<const std::string> notes) {
  const bool shared = plans.size() > 1;
  DCP_ASSIGN_OR_RETURN(
      GlobalPlan global,
      CreateGlobalSavePlan(
          std::move(plans),
          {.dedup_to_lowest_rank = options_.dedup_to_lowest_rank,
           .split_nbytes = options_.split_nbytes,
           .require_full_coverage = shared}));
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> final_notes,
                       writer_.PrepareGlobalPlan(global, notes));
  if (final_notes.size() != notes.size()) {
    return Internal("the storage has notes for " +
                    std::to_string(final_notes.size()) + " of " +
                    std::to_string(notes.size()) + " ranks");
  }
  metadata_ = std::move(global.metadata);
  plans_ = std::move(global.plans);
  return final_notes;
}

StatusOr<std::string> SaveCoordinator::Publish(
    std::vector<std::string> messages) {
  std::vector<WriteOutcome> outcomes;
  ChunkNumbering numbering;
  for (size_t rank = 0; rank < messages.size(); ++rank) {
    DCP_ASSIGN_OR_RETURN(WriteOutcome outcome,
                         ParseWriteOutcome(messages[rank]));
    DCP_RETURN_IF_ERROR(
        Annotate(RequireExactlyOnce(plans_[rank], outcome.results),
                 "rank " + std::to_string(rank)));
    numbering.Number(plans_[rank], outcome.results);
    plans_[rank] = {};
    messages[rank] = {};
    outcomes.push_back(std::move(outcome));
  }
  return writer_.Finish(std::move(metadata_), outcomes);
}

}  // namespace dcp
