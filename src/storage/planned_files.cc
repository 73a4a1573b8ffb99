#include "storage/planned_files.h"

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/limits.h"

namespace dcp {
namespace {

// Read at a time: what is known of an item while it is read takes some 700
// bytes.
constexpr size_t kMaxItemsInJob = size_t{1} << 13;

/// The reads in the first `count` files of `reads`, which are in file order.
std::span<const LocatedRead> ReadsOfFirstFiles(
    std::span<const LocatedRead> reads, size_t count) {
  size_t files = 1;
  for (size_t i = 1; i < reads.size(); ++i) {
    if (reads[i].info->relative_path == reads[i - 1].info->relative_path) {
      continue;
    }
    if (++files > count) return reads.first(i);
  }
  return reads;
}

}  // namespace

PlannedFiles::PlannedFiles(FileSystem& file_system, std::string directory,
                           DirectIo direct_io, const Metadata& metadata,
                           const Sidecar& sidecar)
    : file_system_(file_system),
      directory_(std::move(directory)),
      direct_io_(direct_io),
      metadata_(metadata),
      sidecar_(sidecar) {}

std::unique_ptr<OpenFiles> PlannedFiles::MakeOpenFiles() const {
  return std::make_unique<OpenFiles>(file_system_, directory_, direct_io_,
                                     sidecar_);
}

Status PlannedFiles::Open(const LoadPlan& plan) {
  std::map<std::string_view, const MetadataIndex*> names;  // as they are read
  for (const ReadItem& item : plan.items) {
    const auto place = metadata_.storage_data.find(item.storage_index);
    if (place == metadata_.storage_data.end()) continue;
    names.emplace(place->second.relative_path, &item.storage_index);
  }
  files_ = MakeOpenFiles();
  size_t count = 0;
  for (const auto& [name, index] : names) {
    if (++count > kMaxOpenFiles) break;
    DCP_RETURN_IF_ERROR(files_->Open(std::string(name), *index).status());
  }
  return absl::OkStatus();
}

Status PlannedFiles::Hold() {
  std::map<std::string_view, const MetadataIndex*> names;
  for (const auto& [index, place] : metadata_.storage_data) {
    names.emplace(place.relative_path, &index);
    if (names.size() > kMaxHeldFiles) return absl::OkStatus();
  }
  auto files = MakeOpenFiles();
  for (const auto& [name, index] : names) {
    DCP_RETURN_IF_ERROR(files->Open(std::string(name), *index).status());
  }
  held_ = std::move(files);
  return absl::OkStatus();
}

std::optional<int64_t> PlannedFiles::NbytesOfOpen(
    const std::string& name) const {
  const OpenFile* const file = files_ ? files_->Find(name) : nullptr;
  return file != nullptr ? std::optional(file->nbytes) : std::nullopt;
}

Status PlannedFiles::Read(const LoadPlan& plan, const ReadItems& read) {
  DCP_ASSIGN_OR_RETURN(const std::vector<LocatedRead> reads,
                       LocateReads(plan, metadata_, directory_));
  for (std::span<const LocatedRead> rest(reads); !rest.empty();) {
    const auto in_files = ReadsOfFirstFiles(rest, kMaxOpenFiles);
    const std::unique_ptr<OpenFiles> opened =
        files_ != nullptr ? std::move(files_) : MakeOpenFiles();
    OpenFiles& files = held_ != nullptr ? *held_ : *opened;
    for (std::span<const LocatedRead> left(in_files); !left.empty();) {
      const auto some = ReadsOfFirstItems(left, kMaxItemsInJob);
      const std::vector<StoredItem> items =
          DescribeItems(some, metadata_, directory_);
      DCP_RETURN_IF_ERROR(read(items, files));
      left = left.subspan(some.size());
    }
    rest = rest.subspan(in_files.size());
  }
  return absl::OkStatus();
}

Status CommitTensors(const LoadPlan& plan, ReadTarget& target) {
  for (const ReadItem& item : plan.items) {
    if (item.type == LoadItemType::kTensor) {
      DCP_RETURN_IF_ERROR(target.CommitTensor(item));
    }
  }
  return absl::OkStatus();
}

}  // namespace dcp
