// Which way safetensors files are published: COMMIT.md, "Safetensors", points
// 2, 6 and 7.

#include <optional>
#include <utility>

#include "base/random_id.h"
#include "dcp/hugging_face_storage.h"
#include "format/file_names.h"
#include "format/safetensors_index.h"
#include "storage/environment.h"
#include "storage/hugging_face_publish.h"
#include "storage/sibling_directory.h"

namespace dcp {
namespace {

/// Why a save does not exchange a directory with these entries.
Status RequireFilesOnly(std::span<const DirectoryEntry> entries) {
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kFile) {
      return Unimplemented(entry.name + " in it is no file");
    }
    // Its holder replaces it all the time.
    if (entry.name == LeaseFileName(std::nullopt)) {
      return Unimplemented("there are no locks of files");
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status HuggingFacePublisher::ChooseWay(
    std::span<const DirectoryEntry> entries) {
  const bool is_fresh = !survey_.has_checkpoint && survey_.strays.empty();
  way_ = is_fresh ? PublishWay::kFresh : PublishWay::kIndexed;
  // Files of ranks have no index, so all of them come at once if they can.
  if (is_fresh && !options_.file_per_rank) return absl::OkStatus();
  const Status prepared = PrepareExchange(entries);
  if (prepared.ok()) {
    way_ = PublishWay::kExchange;
    return absl::OkStatus();
  }
  why_indexed_ = Message(prepared);
  DCP_RETURN_IF_ERROR(RequireOneIndex());
  return RefuseInPlace(prepared);
}

/// Two indices would be there for a while, or for good, and one alone may say
/// which files count.
Status HuggingFacePublisher::RequireOneIndex() const {
  if (options_.file_per_rank) return absl::OkStatus();
  for (const std::string& name : survey_.replaced) {
    if (!name.ends_with(kSafetensorsIndexSuffix) || name == IndexName()) {
      continue;
    }
    return FailedPrecondition(
        JoinPath(options_.directory, name) +
        " cannot make room for an index of another name in one step, since "
        "the directory is not exchanged (" +
        why_indexed_ + "): save into another one, or remove it first");
  }
  return absl::OkStatus();
}

Status HuggingFacePublisher::PrepareExchange(
    std::span<const DirectoryEntry> entries) {
  // Savers put records into it by its name, and could miss one another.
  if (!options_.session_id.empty()) {
    return Unimplemented("savers talk through the directory");
  }
  DCP_RETURN_IF_ERROR(RequireFilesOnly(entries));
  DCP_ASSIGN_OR_RETURN(sibling_,
                       SiblingPath(options_.directory, options_.save_id));
  DCP_ASSIGN_OR_RETURN(
      const std::vector<std::string> carried,
      FilesToCarry(*file_system_, options_.directory, entries));
  return MakeSibling(*file_system_, options_.directory, sibling_, carried);
}

StatusOr<std::string> DescribeSafetensorsOverwrite(
    const std::string& path, StorageEnvironment environment) {
  const StorageEnvironment seams = WithDefaults(std::move(environment));
  FileSystem& fs = *seams.file_system;
  const std::string directory = fs.Absolute(path);
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  const auto try_exchange = [&]() -> Status {
    DCP_RETURN_IF_ERROR(RequireFilesOnly(entries));
    DCP_ASSIGN_OR_RETURN(const std::string sibling,
                         SiblingPath(directory, "dcpcpp-" + MakeRandomHex()));
    DCP_ASSIGN_OR_RETURN(std::vector<std::string> carried,
                         FilesToCarry(fs, directory, entries));
    if (carried.size() > 1) carried.resize(1);  // one will do to tell
    DCP_RETURN_IF_ERROR(MakeSibling(fs, directory, sibling, carried));
    RemoveWithFiles(fs, sibling);
    return absl::OkStatus();
  };
  const Status exchange = try_exchange();
  if (exchange.ok()) return "exchange of directories";
  return "save id names (" + std::string(Message(exchange)) + ")";
}

}  // namespace dcp
