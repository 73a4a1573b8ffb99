// Files of ranks: COMMIT.md, "Safetensors", point 6.

#include <utility>

#include "format/file_names.h"
#include "storage/hugging_face_publish.h"

namespace dcp {

Status HuggingFacePublisher::RequireNoStrays() const {
  if (!options_.file_per_rank || survey_.strays.empty()) {
    return absl::OkStatus();
  }
  return FailedPrecondition(
      JoinPath(options_.directory, survey_.strays.front()) +
      " would count as a part of the checkpoint, because files of ranks have "
      "no index: save into another directory, or remove it first");
}

Status HuggingFacePublisher::RefuseInPlace(const Status& why) const {
  if (!options_.file_per_rank || way_ == PublishWay::kFresh) {
    return absl::OkStatus();
  }
  const std::string what = options_.directory +
                           " holds a checkpoint, which files of ranks replace "
                           "by an exchange of directories";
  // What the disk refuses now it may do later, or with more space.
  if (why.code() != absl::StatusCode::kUnimplemented) {
    return Annotate(why, what);
  }
  return Unimplemented(what + ", and that cannot be done (" +
                       std::string(Message(why)) +
                       "): save into another directory, or remove it first");
}

std::vector<ShardPlace> HuggingFacePublisher::PlaceRankFiles(
    std::vector<std::string> names) {
  return Place(std::move(names));
}

Status HuggingFacePublisher::MarkUnpublished() {
  return Write(options_.directory, TemporaryMetadataName(options_.save_id), "");
}

Status HuggingFacePublisher::RemoveMark() {
  DCP_RETURN_IF_ERROR(claim_->Check());
  const std::string mark =
      JoinPath(options_.directory, TemporaryMetadataName(options_.save_id));
  DCP_RETURN_IF_ERROR(
      progress_.Attempt([&] { return file_system_->Remove(mark); }));
  return SyncNames(options_.directory);
}

}  // namespace dcp
