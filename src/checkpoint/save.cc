// A save, start to finish (COMMIT.md has the reasons):
// 1. plan: every rank says what it holds, and all agree on a writer for each
//    item (plan_agreement.cc).
// 2. write: every rank writes its part and makes it durable. No message is
//    pending meanwhile (Transport::AwaitAll).
// 3. commit: the coordinator has every rank's results, finds in them exactly
//    what was planned, and publishes.
// 4. verdict: every rank learns what became of it. Files are removed only by a
//    rank that knows that nothing was published.

#include <utility>

#include "base/guarded.h"
#include "base/traced.h"
#include "checkpoint/in_doubt.h"
#include "checkpoint/plan_agreement.h"
#include "checkpoint/rank_exchange.h"
#include "checkpoint/save_by_saver.h"
#include "checkpoint/save_coordinator.h"
#include "checkpoint/save_from.h"
#include "checkpoint/save_planning.h"
#include "checkpoint/spec_of_entries.h"
#include "checkpoint/staged_source.h"
#include "checkpoint/verdict.h"
#include "checkpoint/write_outcome_codec.h"
#include "dcp/checkpoint.h"
#include "dcp/staging.h"

namespace dcp {
namespace {

/// Where the data comes from, if not from the caller's entries.
struct SaveInput {
  StagedEntries* staged = nullptr;  ///< has the entries' data
  /// Instead of entries: what there is, and who has it.
  const SavePlan* plan = nullptr;
  WriteSource* source = nullptr;
};

/// One rank's part in one save.
class SaveOperation {
 public:
  SaveOperation(StorageWriter& writer, Transport& transport,
                const SaveOptions& options, const SaveInput& input)
      : input_(input),
        writer_(writer),
        transport_(transport),
        options_(options),
        role_{.rank = transport.rank(),
              .world_size = transport.world_size(),
              .is_coordinator = transport.rank() == transport.coordinator(),
              .use_collectives = options.use_collectives},
        coordinator_(writer, options) {}

  StatusOr<SaveResult> Run(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    try {
      return options_.use_collectives ? SaveTogether(entries)
                                      : SaveAlone(entries);
    } catch (...) {
      const Status thrown = StatusOfException();
      return Guarded([&] { return GiveUp(thrown); });
    }
  }

 private:
  StatusOr<SaveResult> SaveTogether(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    PlanAgreement agreement(transport_, coordinator_, options_);
    Status agreed = Traced(trace(), "plan",
                           [&] { return agreement.Reach(Propose(entries)); });
    if (!agreed.ok()) {
      Abort();
      return agreed;
    }
    StatusOr<std::string> outcome =
        Guarded([&] { return WriteShare(*entries, agreement); });
    Status met = WasInterrupted(outcome.status()) ? outcome.status() : Meet();
    if (!met.ok()) {
      Abort();  // without this rank's results nobody publishes
      return met;
    }
    if (Status state = CheckStaged(); outcome.ok() && !state.ok()) {
      outcome = std::move(state);
    }
    DCP_ASSIGN_OR_RETURN(std::string published,
                         MeetVerdict(std::move(outcome)));
    return SaveResult{std::move(published)};
  }

  /// What this rank has to save. One rank alone has nothing in common with
  /// others.
  StatusOr<PlanAgreement::Proposal> Propose(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    return Guarded([&]() -> StatusOr<PlanAgreement::Proposal> {
      PlanAgreement::Proposal proposal;
      DCP_ASSIGN_OR_RETURN(proposal.local, PlanLocally(entries));
      if (input_.plan != nullptr || role_.world_size == 1) return proposal;
      DCP_ASSIGN_OR_RETURN(proposal.spec,
                           SpecOfEntries(*entries, proposal.local.plan,
                                         static_cast<uint32_t>(role_.rank)));
      return proposal;
    });
  }

  StatusOr<LocalPlan> PlanLocally(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    DCP_RETURN_IF_ERROR(entries.status());
    set_up_ = true;
    DCP_RETURN_IF_ERROR(writer_.SetUp(role_));
    LocalPlan local;
    if (input_.plan != nullptr) {
      local.plan = *input_.plan;
    } else {
      DCP_ASSIGN_OR_RETURN(local.plan,
                           MakeLocalPlan(*entries, writer_, options_));
    }
    DCP_ASSIGN_OR_RETURN(local.notes, writer_.PrepareLocalPlan(local.plan));
    return local;
  }

  /// The plan goes before the commit, which needs memory of its own.
  StatusOr<std::string> WriteShare(std::span<const SaveEntry> entries,
                                   PlanAgreement& agreement) {
    DCP_ASSIGN_OR_RETURN(LocalPlan mine, agreement.TakePart());
    return Write(entries, mine);
  }

  StatusOr<std::string> Write(std::span<const SaveEntry> entries,
                              LocalPlan& mine) {
    if (input_.source != nullptr) return WriteFrom(*input_.source, mine);
    if (input_.staged == nullptr) {
      EntrySource source(entries, transport_, options_.trace);
      return WriteFrom(source, mine);
    }
    StagedSource source(*input_.staged, transport_, options_.trace);
    const Status begun = source.Begin(mine.plan);
    StatusOr<std::string> written = WriteFrom(source, mine);
    // Of a plan without tensors nothing was resolved.
    DCP_RETURN_IF_ERROR(begun);
    return written;
  }

  StatusOr<std::string> WriteFrom(WriteSource& source, const LocalPlan& mine) {
    DCP_ASSIGN_OR_RETURN(const WriteOutcome outcome,
                         writer_.WriteData(mine.plan, mine.notes, source));
    return SerializeWriteOutcome(outcome);
  }

  StatusOr<std::string> Publish(std::vector<std::string> outcomes) {
    return Traced(trace(), "commit",
                  [&] { return coordinator_.Publish(std::move(outcomes)); });
  }

  /// Waits for the other ranks.
  Status Meet() {
    return Traced(trace(), "meet",
                  [this] { return transport_.AwaitAll("write"); });
  }

  Trace* trace() const { return options_.trace.get(); }

  /// Not OK once somebody has cancelled the state.
  Status CheckStaged() const {
    return input_.staged ? input_.staged->snapshot().Check() : absl::OkStatus();
  }

  /// Sends this rank's outcome, publishes on the coordinator, and brings every
  /// rank the result. A rank whose connection breaks here is in doubt, and its
  /// files stay for the next save to judge.
  StatusOr<std::string> MeetVerdict(StatusOr<std::string> outcome) {
    meets_verdict_ = true;
    std::string published;  // on the coordinator
    StatusOr<std::string> verdict = AllReduce(
        transport_, "write", std::move(outcome),
        [&](std::vector<std::string> outcomes) -> StatusOr<std::string> {
          StatusOr<std::string> result =
              Guarded([&] { return Publish(std::move(outcomes)); });
          if (!result.ok() && writer_.commit_attempted() &&
              !WasInterrupted(result.status())) {
            return MarkInDoubt(result.status());
          }
          DCP_ASSIGN_OR_RETURN(published, std::move(result));
          return role_.world_size > 1 ? SerializeVerdict(published) : "";
        });
    const auto failures = GetRankFailures(verdict.status());
    const bool agreed_to_fail = failures && !HasOneInDoubt(*failures);
    const bool never_published =
        role_.is_coordinator && !verdict.ok() && !writer_.commit_attempted();
    if (agreed_to_fail || never_published) Abort();
    DCP_RETURN_IF_ERROR(verdict.status());
    if (role_.is_coordinator) return published;
    return ParseVerdict(*verdict);
  }

  /// After `thrown`, which the other ranks find out from a connection that
  /// breaks.
  StatusOr<SaveResult> GiveUp(const Status& thrown) {
    const bool publishes = role_.is_coordinator || !role_.use_collectives;
    if (publishes && set_up_ && writer_.commit_attempted()) {
      return MarkInDoubt(thrown);
    }
    if (publishes || !meets_verdict_) Abort();
    return thrown;
  }

  /// A writer that was not set up for this save still stands at the last one,
  /// whose files must stay.
  void Abort() {
    if (set_up_) writer_.Abort();
  }

  /// torch's use_collectives=False: a checkpoint per rank, then a meeting.
  StatusOr<SaveResult> SaveAlone(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    StatusOr<std::string> published =
        Guarded([&] { return PublishAlone(entries); });
    if (!published.ok() && !writer_.commit_attempted()) Abort();
    if (WasInterrupted(published.status())) return published.status();
    DCP_RETURN_IF_ERROR(Meet());
    const StatusOr<std::string> done =
        published.ok() ? StatusOr<std::string>("") : published.status();
    const auto conclude = [this](const auto&) -> StatusOr<std::string> {
      DCP_RETURN_IF_ERROR(Guarded([this] { return writer_.Conclude(); }));
      return std::string();
    };
    DCP_RETURN_IF_ERROR(
        AllReduce(transport_, "write", done, conclude).status());
    return SaveResult{*std::move(published)};
  }

  StatusOr<std::string> PublishAlone(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    DCP_ASSIGN_OR_RETURN(std::string outcome, WriteAlone(entries));
    DCP_RETURN_IF_ERROR(CheckStaged());
    return Publish({std::move(outcome)});
  }

  StatusOr<std::string> WriteAlone(
      const StatusOr<std::span<const SaveEntry>>& entries) {
    DCP_ASSIGN_OR_RETURN(LocalPlan local, PlanLocally(entries));
    DCP_ASSIGN_OR_RETURN(LocalPlan mine,
                         coordinator_.PlanAlone(std::move(local)));
    return Write(*entries, mine);
  }

  const SaveInput input_;
  StorageWriter& writer_;
  Transport& transport_;
  const SaveOptions& options_;
  const StorageRole role_;
  bool set_up_ = false;         // writer_, for this save
  bool meets_verdict_ = false;  // the coordinator may have this rank's outcome
  SaveCoordinator coordinator_;
};

}  // namespace

StatusOr<SaveResult> Save(const StatusOr<std::span<const SaveEntry>>& entries,
                          StorageWriter& writer, Transport& transport,
                          const SaveOptions& options) {
  return SaveOperation(writer, transport, options, {}).Run(entries);
}

StatusOr<SaveResult> Save(const StatusOr<std::shared_ptr<StagedState>>& staged,
                          StorageWriter& writer, Transport& transport,
                          const SaveOptions& options) {
  auto* const state =
      staged.ok() ? static_cast<StagedEntries*>(staged->get()) : nullptr;
  const Status usable = state ? state->CheckProcess() : staged.status();
  if (!usable.ok()) {
    return SaveOperation(writer, transport, options, {}).Run(usable);
  }
  auto saved = SaveBySaver(*state, writer, transport, options);
  if (!saved) {
    saved = SaveOperation(writer, transport, options, {.staged = state})
                .Run(state->entries());
  }
  state->snapshot().EndUse();
  return *std::move(saved);
}

StatusOr<SaveResult> SaveFrom(const SavePlan& plan, WriteSource& source,
                              StorageWriter& writer, Transport& transport) {
  const SaveOptions options;
  return SaveOperation(writer, transport, options,
                       {.plan = &plan, .source = &source})
      .Run(std::span<const SaveEntry>());
}

StatusOr<SaveResult> Save(const std::string& path,
                          std::span<const SaveEntry> entries) {
  return Guarded([&] {
    const auto writer = MakeFileSystemWriter({.path = path});
    const auto transport = MakeSingleProcessTransport();
    return Save(entries, *writer, *transport, {});
  });
}

}  // namespace dcp
