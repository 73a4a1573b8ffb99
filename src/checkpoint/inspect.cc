#include <utility>
#include <vector>

#include "base/guarded.h"
#include "checkpoint/load_planning.h"
#include "dcp/checkpoint.h"
#include "dcp/hugging_face_storage.h"

namespace dcp {

StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(
    const std::string& path, const InspectOptions& options) {
  return Guarded(
      [&] { return Open(MakeReaderByContent({.path = path}), options); });
}

StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(
    std::unique_ptr<StorageReader> reader, const InspectOptions& options) {
  return Guarded([&]() -> StatusOr<std::unique_ptr<Checkpoint>> {
    std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(std::move(reader)));
    // A save may have replaced what the metadata told of. What is missing still
    // is for the first read that needs it to report.
    DCP_ASSIGN_OR_RETURN(const bool is_held, checkpoint->TryOpen(options));
    if (!is_held) DCP_RETURN_IF_ERROR(checkpoint->TryOpen(options).status());
    return checkpoint;
  });
}

StatusOr<bool> Checkpoint::TryOpen(const InspectOptions& options) {
  DCP_ASSIGN_OR_RETURN(index_, options.rank
                                   ? reader_->ReadRankIndex(*options.rank)
                                   : reader_->ReadIndex());
  DCP_RETURN_IF_ERROR(reader_->SetUp(index_, {}));
  return reader_->HoldData().ok();
}

Status Checkpoint::ReadTensor(std::string_view fqn, const Box& box,
                              const TensorView& destination) {
  return Guarded([&]() -> Status {
    const TensorStorageMetadata* tensor = metadata().FindTensor(fqn);
    if (tensor == nullptr) {
      return KeyNotFound(
          fqn, "no tensor " + std::string(fqn) + " in the checkpoint");
    }
    if (destination.sizes != box.sizes) {
      return InvalidArgument("the destination has the shape " +
                             ToString(destination.sizes) + ", the box " +
                             ToString(box));
    }
    const LoadEntry entry =
        ShardLoad(std::string(fqn), destination, tensor->size, box.offsets);
    return Read({&entry, 1}).status();
  });
}

StatusOr<std::string> Checkpoint::ReadObject(std::string_view fqn) {
  return Guarded([&]() -> StatusOr<std::string> {
    const StorageMetadata* stored = metadata().Find(fqn);
    if (stored == nullptr ||
        !std::holds_alternative<BytesStorageMetadata>(*stored)) {
      return KeyNotFound(
          fqn, "no object " + std::string(fqn) + " in the checkpoint");
    }
    const LoadEntry entry = ObjectLoad(std::string(fqn));
    DCP_ASSIGN_OR_RETURN(LoadResult result, Read({&entry, 1}));
    return std::move(result.objects.at(0).bytes);
  });
}

StatusOr<LoadResult> Checkpoint::Read(std::span<const LoadEntry> entries) {
  return Guarded([&]() -> StatusOr<LoadResult> {
    LoadResult result;
    DCP_ASSIGN_OR_RETURN(const LoadPlan plan,
                         MakeLoadPlan(entries, metadata(), {}, &result));
    EntryTarget target(entries);
    const int64_t before = reader_->nbytes_read();
    DCP_RETURN_IF_ERROR(reader_->ReadData(plan, target));
    result.objects = target.TakeObjects();
    result.nbytes_read = reader_->nbytes_read() - before;
    return result;
  });
}

}  // namespace dcp
