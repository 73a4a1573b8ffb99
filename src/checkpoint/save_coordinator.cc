#include "checkpoint/save_coordinator.h"

#include <utility>

#include "base/free_memory.h"
#include "checkpoint/write_outcome_codec.h"
#include "plan/gathered_plan.h"
#include "plan/plan_message.h"

namespace dcp {

StatusOr<SaveCoordinator::Decision> SaveCoordinator::Plan(
    std::span<std::string> messages, std::span<const std::string> notes) {
  DCP_ASSIGN_OR_RETURN(
      GatheredPlan plan,
      GatherPlans(messages,
                  {.dedup_to_lowest_rank = options_.dedup_to_lowest_rank,
                   .split_nbytes = options_.split_nbytes,
                   .require_full_coverage = messages.size() > 1}));
  Decision decision{.shares = std::move(plan.shares)};
  DCP_ASSIGN_OR_RETURN(decision.notes, Prepare(std::move(plan.global), notes));
  return decision;
}

StatusOr<LocalPlan> SaveCoordinator::PlanAlone(LocalPlan local) {
  std::string message = SerializePlanMessage(local.plan);
  DCP_ASSIGN_OR_RETURN(Decision decision,
                       Plan({&message, 1}, {&local.notes, 1}));
  DCP_ASSIGN_OR_RETURN(local.plan,
                       ApplyShare(decision.shares[0], std::move(local.plan)));
  local.notes = std::move(decision.notes[0]);
  return local;
}

StatusOr<std::vector<std::string>> SaveCoordinator::Adopt(
    const AgreedPlan& agreed, std::span<const std::string> notes) {
  return Prepare(GlobalPlanOf(agreed), notes);
}

StatusOr<std::vector<std::string>> SaveCoordinator::Prepare(
    GlobalPlan global, std::span<const std::string> notes) {
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> answers,
                       writer_.PrepareGlobalPlan(global, notes));
  if (answers.size() != notes.size()) {
    return Internal("the storage has notes for " +
                    std::to_string(answers.size()) + " of " +
                    std::to_string(notes.size()) + " ranks");
  }
  DCP_ASSIGN_OR_RETURN(planned_, PlannedItems::Of(global));
  metadata_ = std::move(global.metadata);
  return answers;
}

StatusOr<std::string> SaveCoordinator::Publish(
    std::vector<std::string> messages) {
  std::vector<WriteOutcome> outcomes;
  for (size_t rank = 0; rank < messages.size(); ++rank) {
    DCP_ASSIGN_OR_RETURN(WriteOutcome outcome,
                         ParseWriteOutcome(messages[rank]));
    DCP_RETURN_IF_ERROR(
        Annotate(planned_.Check(rank, metadata_, outcome.results),
                 "rank " + std::to_string(rank)));
    FreeMemory(&messages[rank]);
    outcomes.push_back(std::move(outcome));
  }
  planned_ = {};
  return writer_.Finish(std::move(metadata_), std::move(outcomes));
}

}  // namespace dcp
