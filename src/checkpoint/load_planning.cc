#include "checkpoint/load_planning.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/cast.h"
#include "checkpoint/check_view.h"

namespace dcp {
namespace {

/// "torch.Size([2, 3])", as in torch's messages.
std::string TorchSize(const Dims& dims) {
  return "torch.Size(" + ToString(dims) + ")";
}

class LoadPlanner {
 public:
  LoadPlanner(const Metadata& metadata, const LoadOptions& options,
              LoadResult* result, size_t entry_count)
      : metadata_(metadata), options_(options), result_(*result) {
    plan_.items.reserve(entry_count);
  }

  Status Add(const LoadEntry& entry, int64_t number) {
    const StorageMetadata* stored = metadata_.Find(entry.fqn);
    if (stored == nullptr) return AddMissing(entry.fqn);
    const auto* tensor = std::get_if<TensorStorageMetadata>(stored);
    if (tensor == nullptr) {
      // torch, too, loads an object into a tensor's place.
      plan_.items.push_back({.type = LoadItemType::kByteIo,
                             .dest_index = {.fqn = entry.fqn},
                             .dest_offsets = {0},
                             .storage_index = {.fqn = entry.fqn},
                             .storage_offsets = {0},
                             .lengths = {0},
                             .destination = number});
      return absl::OkStatus();
    }
    const auto* wanted = std::get_if<TensorDestination>(&entry.value);
    if (wanted == nullptr) {
      return InvalidArgument(
          "Invalid checkpoint metadata for " + entry.fqn +
          ", expected BytesStorageMetadata but found TensorStorageMetadata: "
          "the checkpoint holds a tensor, the state dict an object");
    }
    return AddTensor(entry.fqn, *wanted, *tensor, number);
  }

  LoadPlan TakePlan() && { return std::move(plan_); }

 private:
  Status AddMissing(const std::string& fqn) {
    if (!options_.allow_partial_load) {
      // torch 2.13 default_planner.py create_default_local_load_plan
      return FailedPrecondition("Missing key in checkpoint state_dict: " + fqn +
                                ".");
    }
    result_.missing.push_back(fqn);
    return absl::OkStatus();
  }

  Status AddTensor(const std::string& fqn, const TensorDestination& wanted,
                   const TensorStorageMetadata& tensor, int64_t number) {
    if (wanted.global_size != tensor.size) {
      return InvalidArgument(
          "Size mismatch between saved " + TorchSize(tensor.size) +
          " and current: " + TorchSize(wanted.global_size) + " for " + fqn);
    }
    const Box box{.offsets = wanted.offsets, .sizes = wanted.view.sizes};
    if (!InBounds(tensor.size, box)) {
      return InvalidArgument("the destination " + ToString(box) + " of " + fqn +
                             " does not lie in its global shape " +
                             ToString(tensor.size));
    }
    DCP_RETURN_IF_ERROR(
        NoteCast(fqn, tensor.properties.dtype, wanted.view.dtype));
    auto& finder = finders_[&tensor];
    if (!finder) finder = std::make_unique<ChunkFinder>(tensor);
    return AppendReadItems(fqn, *finder, tensor, box, number, &plan_);
  }

  Status NoteCast(const std::string& fqn, DType stored, DType loaded) {
    if (stored == loaded || !noted_casts_.insert(fqn).second) {
      return absl::OkStatus();
    }
    if (!CanCast(stored, loaded)) {
      return InvalidArgument("cannot load " + fqn + ", stored as " +
                             std::string(DTypeName(stored)) + ", into " +
                             std::string(DTypeName(loaded)));
    }
    result_.casts.push_back({.fqn = fqn,
                             .stored = stored,
                             .loaded = loaded,
                             .lossy = IsLossyCast(stored, loaded)});
    return absl::OkStatus();
  }

  const Metadata& metadata_;
  const LoadOptions& options_;
  LoadResult& result_;
  LoadPlan plan_;
  std::unordered_map<const TensorStorageMetadata*, std::unique_ptr<ChunkFinder>>
      finders_;
  std::unordered_set<std::string> noted_casts_;
};

}  // namespace

StatusOr<LoadPlan> MakeLoadPlan(std::span<const LoadEntry> entries,
                                const Metadata& metadata,
                                const LoadOptions& options,
                                LoadResult* result) {
  // Chunks that overlap or lie outside would make a load depend on chance.
  Status valid = ValidateChunks(metadata, CoverageRule::kAllowGaps);
  if (!valid.ok()) return DataLoss(Message(valid));
  LoadPlanner planner(metadata, options, result, entries.size());
  std::unordered_set<std::string_view> asked;
  for (size_t i = 0; i < entries.size(); ++i) {
    asked.insert(entries[i].fqn);
    DCP_RETURN_IF_ERROR(planner.Add(entries[i], static_cast<int64_t>(i)));
  }
  for (const auto& [fqn, stored] : metadata.entries()) {
    if (!asked.contains(fqn)) result->unexpected.push_back(fqn);
  }
  return std::move(planner).TakePlan();
}

StatusOr<TensorView> EntryTarget::ResolveTensor(const ReadItem& item) {
  const LoadEntry& entry = entries_[static_cast<size_t>(item.destination)];
  const auto& destination = std::get<TensorDestination>(entry.value);
  DCP_RETURN_IF_ERROR(CheckView(entry.fqn, destination.view));
  if (destination.view.op != ElementOp::kNone) {
    return InvalidArgument("the destination " + entry.fqn + " has an op");
  }
  return Narrow(destination.view,
                {.offsets = item.dest_offsets, .sizes = item.lengths});
}

Status EntryTarget::LoadObject(const ReadItem& item, std::string object) {
  MutexLock lock(mutex_);
  objects_.push_back({.entry = item.destination, .bytes = std::move(object)});
  return absl::OkStatus();
}

Status EntryTarget::LoadOpaqueTensor(const ReadItem& item, std::string object) {
  MutexLock lock(mutex_);
  objects_.push_back({.entry = item.destination,
                      .bytes = std::move(object),
                      .destination_box = Box{item.dest_offsets, item.lengths},
                      .source_box = Box{item.storage_offsets, item.lengths}});
  return absl::OkStatus();
}

Status EntryTarget::CommitTensor(const ReadItem&) { return absl::OkStatus(); }

std::vector<LoadedObject> EntryTarget::TakeObjects() {
  MutexLock lock(mutex_);
  std::stable_sort(objects_.begin(), objects_.end(),
                   [](const LoadedObject& a, const LoadedObject& b) {
                     return a.entry < b.entry;
                   });
  return std::move(objects_);
}

}  // namespace dcp
