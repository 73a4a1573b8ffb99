// PublishWay::kFresh and kIndexed: COMMIT.md, "Safetensors", points 3 and 5.

#include <utility>

#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "storage/hugging_face_publish.h"
#include "storage/replaced_list.h"

namespace dcp {

Status HuggingFacePublisher::PublishInPlace(const PublishRequest& request) {
  const std::string& directory = options_.directory;
  const std::string index_name = TemporaryMetadataName(options_.save_id);
  DCP_RETURN_IF_ERROR(Write(directory, SidecarName(options_.save_id),
                            SerializeSidecar(request.sidecar)));
  if (!request.index.empty()) {
    DCP_RETURN_IF_ERROR(Write(directory, index_name, request.index));
  }
  if (options_.file_per_rank) DCP_RETURN_IF_ERROR(MarkUnpublished());
  if (way_ == PublishWay::kIndexed) DCP_RETURN_IF_ERROR(WriteReplacedList());
  // From here on whoever finds our files can tell whose they are.
  DCP_RETURN_IF_ERROR(SyncNames(directory));
  DCP_RETURN_IF_ERROR(claim_->Check());
  DCP_RETURN_IF_ERROR(NameShards(request));
  DCP_RETURN_IF_ERROR(SyncNames(directory));
  if (!request.index.empty()) {
    DCP_RETURN_IF_ERROR(claim_->Check());
    DCP_RETURN_IF_ERROR(progress_.Attempt([&] {
      return file_system_->Rename(JoinPath(directory, index_name),
                                  JoinPath(directory, IndexName()));
    }));
    DCP_RETURN_IF_ERROR(SyncNames(directory));
  }
  if (options_.file_per_rank) DCP_RETURN_IF_ERROR(RemoveMark());
  return way_ == PublishWay::kIndexed ? RemoveReplaced() : absl::OkStatus();
}

Status HuggingFacePublisher::WriteReplacedList() {
  std::vector<std::string> names;
  for (const std::string& name : survey_.replaced) {
    if (name != IndexName()) names.push_back(name);
  }
  return Write(options_.directory, ReplacedListName(options_.save_id),
               SerializeReplacedList(
                   ListFiles(*file_system_, options_.directory, names)));
}

Status HuggingFacePublisher::NameShards(const PublishRequest& request) {
  for (const ShardPlace& shard : shards_) {
    const std::string path = JoinPath(options_.directory, shard.name);
    DCP_ASSIGN_OR_RETURN(const bool exists, file_system_->Exists(path));
    if (exists) {
      // A rename would replace it.
      return MakeStatus(absl::StatusCode::kAlreadyExists,
                        path +
                            " was made by another program while this save "
                            "was at work");
    }
    // Before it: it may be done although it returns an error.
    progress_.created.push_back(shard.name);
    const auto rename = [&] { return file_system_->Rename(shard.path, path); };
    // A single file without an index is the checkpoint.
    const bool publishes = request.index.empty() && !options_.file_per_rank;
    DCP_RETURN_IF_ERROR(publishes ? progress_.Attempt(rename) : rename());
  }
  return absl::OkStatus();
}

/// As far as that goes: while the list is there, the next save goes on with it.
/// \error  model.safetensors is still there, or may be after a power cut: what
///     knows it prefers it to any index, so others would see the old checkpoint
Status HuggingFacePublisher::RemoveReplaced() {
  bool all_gone = true;
  Status status;
  for (const std::string& name : survey_.replaced) {
    if (name == IndexName()) continue;
    const Status removed =
        file_system_->Remove(JoinPath(options_.directory, name));
    if (removed.ok() || removed.code() == absl::StatusCode::kNotFound) continue;
    all_gone = false;
    if (name == kSafetensorsSingleName) status.Update(removed);
  }
  const Status synced = SyncNames(options_.directory);
  if (survey_.replaced.contains(std::string(kSafetensorsSingleName))) {
    status.Update(synced);
  }
  if (!all_gone || !synced.ok()) return status;
  RemoveFiles(*file_system_, options_.directory,
              {ReplacedListName(options_.save_id)})
      .IgnoreError();
  return absl::OkStatus();
}

}  // namespace dcp
