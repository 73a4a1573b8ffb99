#include "checkpoint/mapped_writer.h"

#include <unordered_map>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/wire.h"
#include "checkpoint/mapped_plan.h"
#include "checkpoint/mapped_view.h"

namespace dcp {
namespace {

/// The data of mapped items, in that of the others.
class MappedSource final : public WriteSource {
 public:
  /// All outlive the object; `plan` has the items that `source` knows.
  MappedSource(const SavePlan& plan, const std::vector<MappedPiece>& pieces,
               WriteSource& source)
      : pieces_(pieces), source_(source) {
    for (const WriteItem& item : plan.items) items_[item.source] = &item;
  }

  StatusOr<WritePayload> Resolve(const WriteItem& item) override {
    const MappedPiece& piece = pieces_[static_cast<size_t>(item.source)];
    DCP_ASSIGN_OR_RETURN(const TensorView view, ViewOf(piece.source));
    return WritePayload(MappedView(piece.read, view));
  }

  void Release() override {
    {
      const MutexLock lock(mutex_);
      views_.clear();
    }
    source_.Release();
  }

  void ReadLater() override { source_.ReadLater(); }
  Status AwaitRead(int64_t nbytes) override {
    return source_.AwaitRead(nbytes);
  }
  int64_t max_resolved_nbytes() const override {
    return source_.max_resolved_nbytes();
  }
  Status Proceed() override { return source_.Proceed(); }
  std::shared_ptr<Trace> trace() const override { return source_.trace(); }

 private:
  /// The memory of an item, which is resolved once however many come from it.
  StatusOr<TensorView> ViewOf(int64_t source) {
    const MutexLock lock(mutex_);
    const auto known = views_.find(source);
    if (known != views_.end()) return known->second;
    const auto item = items_.find(source);
    if (item == items_.end()) {
      return Internal("the plan of mapped tensors names the item of source " +
                      std::to_string(source) + ", which this rank has not");
    }
    DCP_ASSIGN_OR_RETURN(const WritePayload payload,
                         source_.Resolve(*item->second));
    const auto* const view = std::get_if<TensorView>(&payload);
    if (view == nullptr) {
      return InvalidArgument(item->second->fqn +
                             " is stored encoded, and is not mapped");
    }
    return views_.emplace(source, *view).first->second;
  }

  const std::vector<MappedPiece>& pieces_;
  WriteSource& source_;
  std::unordered_map<int64_t, const WriteItem*> items_;  // by source
  Mutex mutex_;
  std::unordered_map<int64_t, TensorView> views_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

MappedWriter::MappedWriter(std::unique_ptr<StorageWriter> target,
                           ModelMapping mapping)
    : target_(std::move(target)), mapping_(std::move(mapping)) {}

Status MappedWriter::SetUp(const StorageRole& role) {
  metadata_ = {};
  return target_->SetUp(role);
}

StatusOr<std::string> MappedWriter::PrepareLocalPlan(const SavePlan& plan) {
  // Whether objects are dropped, the mapping knows.
  SavePlan tensors{.items = plan.items};
  std::erase_if(tensors.items, [](const WriteItem& item) {
    return item.type == WriteItemType::kByteIo;
  });
  return target_->PrepareLocalPlan(tensors);
}

StatusOr<std::vector<std::string>> MappedWriter::PrepareGlobalPlan(
    const GlobalPlan& plan, std::span<const std::string> local_notes) {
  DCP_ASSIGN_OR_RETURN(MappedPlan mapped,
                       MapPlan(plan, mapping_, [this](DType dtype) {
                         return target_->StoredDType(dtype);
                       }));
  GlobalPlan global{.metadata = mapped.metadata};
  for (const MappedShare& share : mapped.shares) {
    global.plans.push_back(share.plan);
  }
  DCP_ASSIGN_OR_RETURN(const std::vector<std::string> notes,
                       target_->PrepareGlobalPlan(global, local_notes));
  metadata_ = std::move(mapped.metadata);
  std::vector<std::string> all;
  for (size_t rank = 0; rank < notes.size(); ++rank) {
    WireWriter out;
    out.PutString(notes[rank]);
    out.PutString(SerializeMappedShare(mapped.shares[rank]));
    all.push_back(std::move(out).Take());
  }
  return all;
}

StatusOr<WriteOutcome> MappedWriter::WriteData(const SavePlan& plan,
                                               std::string_view notes,
                                               WriteSource& source) {
  WireReader in(notes, "the notes of a mapped save");
  const std::string_view target_notes = in.String();
  const std::string_view mapped = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  DCP_ASSIGN_OR_RETURN(const MappedShare share, ParseMappedShare(mapped));
  MappedSource mapped_source(plan, share.pieces, source);
  DCP_ASSIGN_OR_RETURN(
      WriteOutcome outcome,
      target_->WriteData(share.plan, target_notes, mapped_source));
  outcome.results.clear();
  for (const WriteItem& item : plan.items) {
    outcome.results.push_back(
        {.index = item.index(), .size_in_bytes = item.nbytes});
  }
  return outcome;
}

StatusOr<std::string> MappedWriter::Finish(Metadata,
                                           std::vector<WriteOutcome> outcomes) {
  return target_->Finish(std::move(metadata_), std::move(outcomes));
}

}  // namespace dcp
