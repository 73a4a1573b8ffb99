// PublishWay::kExchange: COMMIT.md, "Safetensors", point 4.

#include <algorithm>

#include "format/file_names.h"
#include "io/paths.h"
#include "storage/hugging_face_publish.h"
#include "storage/sibling_directory.h"

namespace dcp {

Status HuggingFacePublisher::PublishByExchange(const PublishRequest& request) {
  DCP_RETURN_IF_ERROR(Write(sibling_, SidecarName(options_.save_id),
                            SerializeSidecar(request.sidecar)));
  if (!request.index.empty()) {
    DCP_RETURN_IF_ERROR(Write(sibling_, IndexName(), request.index));
  }
  // As late as possible: what becomes of a file between its second name and the
  // exchange is not seen there.
  DCP_RETURN_IF_ERROR(CarryFiles());
  DCP_RETURN_IF_ERROR(SyncNames(sibling_));
  DCP_RETURN_IF_ERROR(claim_->Check());
  DCP_RETURN_IF_ERROR(progress_.Attempt(
      [&] { return file_system_->Exchange(options_.directory, sibling_); }));
  DCP_RETURN_IF_ERROR(SyncNames(ParentPath(options_.directory)));
  RemoveSibling(*file_system_, options_.directory, sibling_, options_.sync);
  return absl::OkStatus();
}

Status HuggingFacePublisher::CarryFiles() {
  DCP_ASSIGN_OR_RETURN(const auto entries,
                       file_system_->List(options_.directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kFile) {
      return FailedPrecondition(
          JoinPath(options_.directory, entry.name) +
          " was made while this save was at work; only files can be carried "
          "into the directory that takes its place: save again");
    }
  }
  DCP_ASSIGN_OR_RETURN(
      const std::vector<std::string> names,
      FilesToCarry(*file_system_, options_.directory, entries));
  for (const std::string& name : names) {
    const bool is_ours =
        std::any_of(shards_.begin(), shards_.end(),
                    [&](const auto& shard) { return shard.name == name; }) ||
        name == IndexName();
    if (is_ours) continue;  // the new one replaces it
    if (options_.file_per_rank && name.ends_with(".safetensors")) {
      return FailedPrecondition(
          JoinPath(options_.directory, name) +
          " was made while this save was at work, and would count as a part of "
          "the checkpoint: save again");
    }
    DCP_RETURN_IF_ERROR(file_system_->Link(JoinPath(options_.directory, name),
                                           JoinPath(sibling_, name)));
  }
  return absl::OkStatus();
}

}  // namespace dcp
