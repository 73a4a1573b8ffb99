// One process does what all ranks of a save do (save.cc), one rank after the
// other: all set up and plan, then each writes its file from a source of its
// own, and the coordinator publishes. COMMIT.md has the reasons for the order.

#include "dcp/reshard.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/random_id.h"
#include "checkpoint/convert_source.h"
#include "checkpoint/in_doubt.h"
#include "checkpoint/opened_path.h"
#include "checkpoint/reshard_plan.h"
#include "checkpoint/save_coordinator.h"
#include "checkpoint/write_outcome_codec.h"
#include "dcp/transport.h"
#include "plan/plan_message.h"
#include "plan/plan_share.h"
#include "storage/environment.h"

namespace dcp {
namespace {

constexpr int kMaxRanks = 65536;

class ReshardOperation {
 public:
  ReshardOperation(const ReshardRequest& request, StorageReader& reader,
                   const ReshardPlan& plan,
                   const StorageEnvironment& environment)
      : request_(request), reader_(reader), plan_(plan) {
    const std::string save_id = "dcpcpp-" + MakeRandomHex();
    for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
      writers_.push_back(MakeFileSystemWriter(
          {.path = request.destination, .save_id = save_id, .io = request.io},
          environment));
    }
  }

  Status Run() {
    Status saved = Guarded([this] { return Save(); });
    if (saved.ok()) return saved;
    if (writers_[0]->commit_attempted()) return MarkInDoubt(saved);
    for (size_t rank = 0; rank < set_up_; ++rank) writers_[rank]->Abort();
    return saved;
  }

 private:
  Status Save() {
    std::vector<std::string> messages;
    std::vector<std::string> notes;
    for (size_t rank = 0; rank < writers_.size(); ++rank) {
      DCP_ASSIGN_OR_RETURN(std::string note, Prepare(rank));
      notes.push_back(std::move(note));
      messages.push_back(SerializePlanMessage(plan_.ranks[rank].save));
    }
    SaveCoordinator coordinator(*writers_[0], options_);
    DCP_ASSIGN_OR_RETURN(const SaveCoordinator::Decision decision,
                         coordinator.Plan(messages, notes));
    std::vector<std::string> outcomes;
    for (size_t rank = 0; rank < writers_.size(); ++rank) {
      DCP_ASSIGN_OR_RETURN(
          std::string outcome,
          Write(rank, decision.shares[rank], decision.notes[rank]));
      outcomes.push_back(std::move(outcome));
    }
    return coordinator.Publish(std::move(outcomes)).status();
  }

  /// The notes of `rank` for the coordinator.
  StatusOr<std::string> Prepare(size_t rank) {
    StorageWriter& writer = *writers_[rank];
    set_up_ = rank + 1;
    DCP_RETURN_IF_ERROR(
        writer.SetUp({.rank = static_cast<int>(rank),
                      .world_size = static_cast<int>(writers_.size()),
                      .is_coordinator = rank == 0}));
    return writer.PrepareLocalPlan(plan_.ranks[rank].save);
  }

  StatusOr<std::string> Write(size_t rank, const PlanShare& share,
                              const std::string& notes) {
    const ConversionPlan& plan = plan_.ranks[rank];
    DCP_ASSIGN_OR_RETURN(const SavePlan mine, ApplyShare(share, plan.save));
    const auto transport = MakeSingleProcessTransport();
    ConvertOptions options;
    if (request_.progress) {
      options.progress = [this](const ConvertProgress& now) {
        return request_.progress({.nbytes_done = nbytes_done_ + now.nbytes_done,
                                  .nbytes_total = plan_.totals.nbytes});
      };
    }
    ConvertSource source(plan, reader_, *transport, options);
    DCP_RETURN_IF_ERROR(source.Start());
    DCP_ASSIGN_OR_RETURN(const WriteOutcome outcome,
                         writers_[rank]->WriteData(mine, notes, source));
    nbytes_done_ += plan.nbytes;
    return SerializeWriteOutcome(outcome);
  }

  const ReshardRequest& request_;
  StorageReader& reader_;
  const ReshardPlan& plan_;
  const SaveOptions options_;
  std::vector<std::unique_ptr<StorageWriter>> writers_;
  size_t set_up_ = 0;  // writers, from the first
  int64_t nbytes_done_ = 0;
};

Status CheckRequest(const ReshardRequest& request, FileSystem& file_system) {
  if (request.ranks < 1 || request.ranks > kMaxRanks) {
    return InvalidArgument("a checkpoint is of 1 to " +
                           std::to_string(kMaxRanks) + " ranks, not of " +
                           std::to_string(request.ranks));
  }
  if (file_system.Absolute(request.source) ==
      file_system.Absolute(request.destination)) {
    return InvalidArgument("the source and the destination are the same: " +
                           request.source);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<ConvertResult> ReshardCheckpoint(const ReshardRequest& request,
                                          StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<ConvertResult> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    DCP_RETURN_IF_ERROR(CheckRequest(request, *seams.file_system));
    DCP_ASSIGN_OR_RETURN(const auto opened,
                         OpenPath(request.source, request.io, seams));
    DCP_RETURN_IF_ERROR(PrepareToRead(*opened));
    DCP_ASSIGN_OR_RETURN(const ReshardPlan plan,
                         PlanReshard(opened->index.metadata,
                                     static_cast<size_t>(request.ranks)));
    DCP_RETURN_IF_ERROR(
        ReshardOperation(request, *opened->reader, plan, seams).Run());
    return plan.totals;
  });
}

}  // namespace dcp
