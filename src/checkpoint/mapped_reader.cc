#include "checkpoint/mapped_reader.h"

#include <span>
#include <string_view>
#include <utility>
#include <variant>

#include "checkpoint/mapped_view.h"
#include "checkpoint/mapping_source.h"
#include "checkpoint/piece_reader.h"
#include "checkpoint/same_values.h"

namespace dcp {
namespace {

/// Reads of the source at once: what is known of each takes memory.
constexpr size_t kMaxReads = 16384;

/// Delivers reads of the source; ReadItem::destination is the view.
class LandingTarget final : public ReadTarget {
 public:
  LandingTarget(std::span<const TensorView> views, ReadTarget& target)
      : views_(views), target_(target) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    return Narrow(views_[static_cast<size_t>(item.destination)],
                  {.offsets = item.dest_offsets, .sizes = item.lengths});
  }
  Status LoadObject(const ReadItem& item, std::string) override {
    return Internal("the object " + item.storage_index.fqn +
                    " came where a tensor was asked for");
  }
  Status LoadOpaqueTensor(const ReadItem& item, std::string) override {
    return NeedsTorch(item.storage_index.fqn);
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }
  Status Proceed() override { return target_.Proceed(); }

 private:
  const std::span<const TensorView> views_;
  ReadTarget& target_;
};

/// The error of what a rule takes for another name of `kept`.
Status NotOneTensor(const std::string& tied, const std::string& kept,
                    const std::string& condition) {
  return InvalidArgument(
      tied + " and " + kept +
      " hold other values, though the model's config.json or flavor says by " +
      condition +
      " that they are one tensor, so that only one would be kept; correct "
      "that, or leave one of them out");
}

}  // namespace

MappedReader::MappedReader(StorageReader& source, const ModelMapping& mapping,
                           const decltype(ConvertOptions::rename)& rename)
    : source_(source), mapping_(mapping), rename_(rename) {}

StatusOr<std::vector<MappingSource>> MappedReader::Sources() {
  std::vector<MappingSource> sources;
  for (const auto& [fqn, stored] : index_.metadata.entries()) {
    MappingSource source = MappingSourceOf(fqn, stored);
    if (rename_) {
      DCP_ASSIGN_OR_RETURN(std::optional<std::string> name, rename_(fqn));
      source.is_left_out = !name;
      if (name) source.name = *std::move(name);
    }
    sources.push_back(std::move(source));
    stored_.push_back(
        {.fqn = fqn, .tensor = std::get_if<TensorStorageMetadata>(&stored)});
  }
  return sources;
}

StatusOr<CheckpointIndex> MappedReader::ReadIndex() {
  DCP_ASSIGN_OR_RETURN(CheckpointIndex index, source_.ReadIndex());
  return Map(std::move(index));
}

StatusOr<CheckpointIndex> MappedReader::Map(CheckpointIndex index) {
  index_ = std::move(index);
  const Status valid =
      ValidateChunks(index_.metadata, CoverageRule::kRequireFull);
  if (!valid.ok()) return DataLoss(Message(valid));
  stored_.clear();
  positions_.clear();
  finder_.reset();
  DCP_ASSIGN_OR_RETURN(const std::vector<MappingSource> sources, Sources());
  DCP_ASSIGN_OR_RETURN(tensors_,
                       mapping_.mapping.Plan(sources, mapping_.options));
  DCP_ASSIGN_OR_RETURN(ties_, mapping_.mapping.Ties(sources, mapping_.options));
  if (tensors_.empty()) {
    return InvalidArgument(
        "the mapping makes nothing of the keys of the source that are wanted");
  }
  CheckpointIndex mapped;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const MappedTensor& tensor = tensors_[i];
    if (GetDTypeInfo(tensor.dtype).kind == DTypeKind::kQuantized) {
      return NeedsTorch(tensor.name);
    }
    positions_.emplace(tensor.name, i);
    mapped.metadata.Add(tensor.name, TensorStorageMetadata{
                                         .properties = {.dtype = tensor.dtype},
                                         .size = tensor.sizes,
                                         .chunks = {WholeBox(tensor.sizes)}});
  }
  return mapped;
}

StatusOr<CheckpointIndex> MappedReader::ReadRankIndex(int rank) {
  return Unimplemented("what rank " + std::to_string(rank) +
                       " has saved for itself is not mapped");
}

Status MappedReader::SetUp(const CheckpointIndex&, const StorageRole& role) {
  DCP_RETURN_IF_ERROR(source_.SetUp(index_, role));
  return CheckTies();
}

Status MappedReader::CheckTies() {
  for (const TiedSource& tie : ties_) {
    const std::string tied(stored_[tie.source].fqn);
    const std::string kept(stored_[tie.kept].fqn);
    DCP_ASSIGN_OR_RETURN(const bool are_equal,
                         HoldSameValues(index_, source_, tied, kept));
    if (are_equal) continue;
    return NotOneTensor(tied, kept, tie.condition);
  }
  return absl::OkStatus();
}

Status MappedReader::Add(const MappedRead& read, const TensorView& view,
                         Batch* batch) {
  const Stored& stored = stored_[read.source];
  if (finder_ == nullptr || finder_source_ != read.source) {
    finder_ = std::make_unique<ChunkFinder>(*stored.tensor);
    finder_source_ = read.source;
  }
  const auto destination = std::ssize(batch->views);
  batch->views.push_back(MappedView(read, view));
  return AppendReadItems(stored.fqn, *finder_, *stored.tensor, read.box,
                         destination, &batch->plan);
}

Status MappedReader::Read(Batch* batch, ReadTarget& target) {
  if (batch->plan.items.empty()) return absl::OkStatus();
  LandingTarget landing(batch->views, target);
  DCP_RETURN_IF_ERROR(source_.ReadData(batch->plan, landing));
  *batch = {};
  return absl::OkStatus();
}

Status MappedReader::ReadData(const LoadPlan& plan, ReadTarget& target) {
  Batch batch;
  for (const ReadItem& item : plan.items) {
    const MappedTensor& tensor =
        tensors_[positions_.at(item.storage_index.fqn)];
    DCP_ASSIGN_OR_RETURN(const TensorView view, target.ResolveTensor(item));
    const Box box{.offsets = item.storage_offsets, .sizes = item.lengths};
    for (const MappedRead& read : ReadsOf(tensor, box)) {
      DCP_RETURN_IF_ERROR(Add(read, view, &batch));
      if (batch.plan.items.size() < kMaxReads) continue;
      DCP_RETURN_IF_ERROR(Read(&batch, target));
    }
  }
  DCP_RETURN_IF_ERROR(Read(&batch, target));
  for (const ReadItem& item : plan.items) {
    DCP_RETURN_IF_ERROR(target.CommitTensor(item));
  }
  return absl::OkStatus();
}

}  // namespace dcp
