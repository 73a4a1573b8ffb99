// 1. The rank waits for its copies, and makes its order of them.
// 2. The ranks meet, as for a save in threads. One that cannot, or does not,
//    leave its save to a saver fails the others here. They agree on the
//    session, whose name the savers' records have: those of two saves never
//    mix. Where a rank has more than the memory that it shares with its saver
//    takes, nobody but the trainers could read all: then there is no session,
//    and all ranks save in threads, which stream what is not in memory. Nothing
//    is there of savers then that a crash could leave.
// 3. Each gives its order to its saver, and waits until all have. From then on
//    the savers talk to each other, through the directory, and what becomes of
//    the ranks is nothing to them: they gather, plan, write and commit as ranks
//    do (save.cc).
// 4. The saver's answer is the rank's result. If the saver is gone, the rank
//    tells the other savers in its place.

#include "checkpoint/save_by_saver.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/random_id.h"
#include "checkpoint/check_view.h"
#include "checkpoint/rank_exchange.h"
#include "checkpoint/save_order.h"
#include "checkpoint/saver_process.h"
#include "io/watched_file_system.h"
#include "storage/checkpoint_directory.h"
#include "storage/filesystem_writer.h"
#include "storage/hugging_face_writer.h"
#include "storage/rank_records.h"

namespace dcp {
namespace {

constexpr std::string_view kReady = "leaves its save to a saver";
constexpr std::string_view kTooLarge = "has no room for ";
constexpr std::string_view kSession = "dcpcpp-";
constexpr auto kSlice = std::chrono::milliseconds(50);
// For memory that states of earlier saves have; these have ended.
constexpr auto kMemoryPatience = std::chrono::seconds(30);

/// One rank's part before and after its saver's.
class SaverOperation {
 public:
  SaverOperation(StagedEntries& state, Transport& transport,
                 const SaveOptions& options)
      : state_(state), transport_(transport), options_(options) {}

  /// nullopt: the ranks save in threads.
  StatusOr<std::optional<SaveResult>> Run(StorageWriter& writer) {
    const Status prepared = Guarded([&] { return Prepare(writer); });
    DCP_ASSIGN_OR_RETURN(const std::string agreed, Meet(prepared));
    if (!agreed.starts_with(kSession)) {
      state_.EndHandover(DoesNotFit(agreed));
      state_.snapshot().PutOffUse();
      return std::nullopt;
    }
    order_.set_session_id(agreed);
    return HandOver();
  }

 private:
  SaverProcess& saver() { return *state_.saver(); }

  Status TakeWriter(StorageWriter& writer) {
    const FileSystem* file_system = nullptr;
    if (const auto* native = dynamic_cast<FileSystemWriter*>(&writer)) {
      order_.writer = native->options();
      file_system = &native->file_system();
    } else if (const auto* hf = dynamic_cast<HuggingFaceWriter*>(&writer)) {
      order_.writer = hf->options();
      file_system = &hf->file_system();
    }
    if (file_system != nullptr && file_system->traits().name == "posix") {
      return absl::OkStatus();
    }
    return Unimplemented(
        "a saver writes dcp's own formats to files only; save in threads of "
        "this process");
  }

  Status Prepare(StorageWriter& writer) {
    DCP_RETURN_IF_ERROR(TakeWriter(writer));
    order_.rank = transport_.rank();
    order_.world_size = transport_.world_size();
    order_.coordinator = transport_.coordinator();
    order_.patience = saver().options().patience;
    order_.umask = CurrentUmask();
    order_.save = options_;
    order_.save.trace = nullptr;
    file_system_ = std::make_shared<WatchedFileSystem>(
        MakePosixFileSystem(), order_.io().stall_timeout);
    // The savers meet there.
    DCP_RETURN_IF_ERROR(MakeCheckpointDirectory(
        *file_system_, order_.path(),
        order_.sync_files() ? SyncMode::kSync : SyncMode::kNone));
    DCP_RETURN_IF_ERROR(AwaitMemory());
    DCP_RETURN_IF_ERROR(
        state_.snapshot().BeginUse([this] { return transport_.Check(); }));
    if (const int64_t left = state_.nbytes_streamed(); left > 0) {
      says_ = std::string(kTooLarge) + std::to_string(left) + " of " +
              std::to_string(state_.nbytes()) + " bytes";
      return absl::OkStatus();
    }
    DCP_RETURN_IF_ERROR(TakeCopies());
    return saver().Start();
  }

  /// A use that comes before its memory would have nothing staged.
  Status AwaitMemory() {
    Snapshot& snapshot = state_.snapshot();
    Clock::Duration waited{0};
    while (!snapshot.has_memory() && waited < kMemoryPatience) {
      // Ends early only if nothing is copied.
      (void)snapshot.AwaitCallerFree(kSlice);
      waited += kSlice;
      DCP_RETURN_IF_ERROR(snapshot.Check());
      DCP_RETURN_IF_ERROR(transport_.Check());
    }
    return absl::OkStatus();
  }

  Status TakeCopies() {
    const auto entries = state_.entries();
    entries_.assign(entries.begin(), entries.end());
    for (size_t i = 0; i < entries_.size(); ++i) {
      auto* const shard = std::get_if<TensorShard>(&entries_[i].value);
      if (shard != nullptr) DCP_RETURN_IF_ERROR(TakeCopy(i, *shard));
    }
    memory_ = state_.snapshot().memory();
    order_.memory_nbytes = static_cast<int64_t>(memory_.size());
    if (!memory_.empty()) {
      order_.memory_offset = saver().OffsetOf(memory_.data());
    }
    return absl::OkStatus();
  }

  Status TakeCopy(size_t number, TensorShard& shard) {
    const SaveEntry& entry = entries_[number];
    if (!shard.encoded) DCP_RETURN_IF_ERROR(CheckView(entry.fqn, shard.view));
    DCP_ASSIGN_OR_RETURN(
        const TensorView copy,
        state_.snapshot().AwaitView(StagedViewOf(entry), number,
                                    [this] { return transport_.Check(); }));
    if (shard.encoded) {
      shard.encoded = std::string_view(static_cast<const char*>(copy.data),
                                       shard.encoded->size());
    } else {
      shard.view = copy;
    }
    return absl::OkStatus();
  }

  /// What the ranks agree on: a session, or whose state is too large. In the
  /// steps of a save in threads, so that a rank that has only an error to tell
  /// need not know of savers.
  StatusOr<std::string> Meet(const Status& prepared) {
    StatusOr<std::string> mine = says_;
    if (!prepared.ok()) mine = prepared;
    const auto open =
        [](const std::vector<std::string>& all) -> StatusOr<std::string> {
      std::string too_large;
      for (size_t rank = 0; rank < all.size(); ++rank) {
        const std::string name = "rank " + std::to_string(rank) + " ";
        if (all[rank].starts_with(kTooLarge)) {
          if (too_large.empty()) too_large = name + all[rank];
        } else if (all[rank] != kReady) {
          return InvalidArgument(name +
                                 "saves in threads, and others leave it to a "
                                 "saver: all ranks must do the same");
        }
      }
      if (!too_large.empty()) return too_large;
      return std::string(kSession) + MakeRandomHex();
    };
    if (options_.use_collectives) {
      return ReduceScatter(
          transport_, "plan", std::move(mine),
          [&](const std::vector<std::string>& all)
              -> StatusOr<std::vector<std::string>> {
            DCP_ASSIGN_OR_RETURN(const std::string session, open(all));
            return std::vector<std::string>(all.size(), session);
          });
    }
    if (WasInterrupted(prepared)) return prepared;
    DCP_RETURN_IF_ERROR(transport_.AwaitAll("write"));
    return AllReduce(transport_, "write", std::move(mine), open);
  }

  static Status DoesNotFit(const std::string& whose) {
    return MakeStatus(
        absl::StatusCode::kResourceExhausted,
        whose +
            " in the memory that it shares with its saver, so all ranks save "
            "in threads of their own, and the save does not outlive them: "
            "allow more staging memory (max_staging_bytes, "
            "StagingOptions::max_nbytes)");
  }

  StatusOr<SaveResult> HandOver() {
    StatusOr<SaveAnswer> answer = Guarded([this] {
      const std::string order = SerializeSaveOrder(order_, entries_, memory_);
      return saver().Carry(order,
                           {.ask = [this] { return state_.snapshot().Check(); },
                            .handed_over = [this] { AwaitOrders(); }});
    });
    if (!answer.ok()) return TellGone(answer.status());
    for (const TraceSpan& span : answer->spans) {
      if (options_.trace == nullptr) break;
      options_.trace->AddFrom(span.thread, span.name,
                              Trace::TimePoint(span.begin),
                              Trace::TimePoint(span.end), span.nbytes);
    }
    if (answer->result.ok()) return std::move(answer->result);
    return AsFailure(answer->result.status());
  }

  /// What is handed over is carried through when the others' is, too.
  void AwaitOrders() {
    // One that was killed meanwhile is for the savers to miss.
    transport_.AwaitAll("hand over").IgnoreError();
    state_.MarkHandedOver();
  }

  Status AsFailure(const Status& status) const {
    if (GetRankFailures(status)) return status;
    return MakeRankFailures(
        {.phase = "write", .by_rank = {{order_.rank, status}}});
  }

  /// The others need not miss this rank's saver first.
  Status TellGone(const Status& why) {
    const Status gone =
        Annotate(why, "rank " + std::to_string(order_.rank) + " is gone");
    if (order_.world_size > 1) {
      RankRecords(*file_system_, order_.path(), order_.session_id())
          .TellGone(order_.rank, Message(why))
          .IgnoreError();
    }
    return AsFailure(gone);
  }

  StagedEntries& state_;
  Transport& transport_;
  const SaveOptions& options_;
  SaveOrder order_;
  std::string says_{kReady};        // to the others
  std::vector<SaveEntry> entries_;  // as staged
  std::span<std::byte> memory_;
  std::shared_ptr<FileSystem> file_system_;
};

}  // namespace

std::optional<StatusOr<SaveResult>> SaveBySaver(StagedEntries& state,
                                                StorageWriter& writer,
                                                Transport& transport,
                                                const SaveOptions& options) {
  if (state.saver() == nullptr) return std::nullopt;
  StatusOr<std::optional<SaveResult>> saved = Guarded(
      [&] { return SaverOperation(state, transport, options).Run(writer); });
  state.EndHandover(FailedPrecondition("no saver has the state"));
  if (!saved.ok()) return saved.status();
  std::optional<SaveResult> result = *std::move(saved);
  if (!result) return std::nullopt;
  return *std::move(result);
}

}  // namespace dcp
