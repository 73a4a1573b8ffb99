#include "dcp/checkpoint_layout.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/opened_path.h"
#include "format/file_names.h"
#include "storage/environment.h"

namespace dcp {
namespace {

/// The largest over the mean.
template <typename Holders>
double ImbalanceOf(const Holders& holders) {
  double sum = 0;
  double largest = 0;
  for (const auto& holder : holders) {
    const auto nbytes = static_cast<double>(holder.nbytes);
    sum += nbytes;
    largest = std::max(largest, nbytes);
  }
  if (sum <= 0) return 1;
  return largest * static_cast<double>(holders.size()) / sum;
}

/// Puts together what the metadata says.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(const Metadata& metadata) : metadata_(metadata) {
    std::set<std::string_view> names;
    for (const auto& [index, info] : metadata.storage_data) {
      names.insert(info.relative_path);
    }
    for (const std::string_view name : names) {
      positions_.emplace(name, layout_.files.size());
      const auto parsed = ParseDataFileName(name);
      layout_.files.push_back({.name = std::string(name)});
      if (parsed) layout_.files.back().rank = parsed->rank;
    }
  }

  StatusOr<CheckpointLayout> Build() && {
    for (const auto& [fqn, stored] : metadata_.entries()) {
      DCP_RETURN_IF_ERROR(AddEntry(fqn, stored));
    }
    DCP_RETURN_IF_ERROR(MeasureFiles());
    AddRanks();
    layout_.file_imbalance = ImbalanceOf(layout_.files);
    layout_.rank_imbalance = ImbalanceOf(layout_.ranks);
    return std::move(layout_);
  }

 private:
  Status AddEntry(const std::string& fqn, const StorageMetadata& stored) {
    const size_t first = layout_.parts.size();
    if (const auto* tensor = std::get_if<TensorStorageMetadata>(&stored)) {
      for (const Box& chunk : tensor->chunks) {
        DCP_RETURN_IF_ERROR(
            AddPart({.fqn = fqn, .offset = chunk.offsets}, chunk));
      }
    } else {
      DCP_RETURN_IF_ERROR(AddPart({.fqn = fqn}, std::nullopt));
    }
    std::set<size_t> files;
    for (size_t i = first; i < layout_.parts.size(); ++i) {
      files.insert(layout_.parts[i].file);
    }
    for (const size_t file : files) ++layout_.files[file].keys;
    return absl::OkStatus();
  }

  Status AddPart(const MetadataIndex& index, std::optional<Box> chunk) {
    const auto place = metadata_.storage_data.find(index);
    if (place == metadata_.storage_data.end()) {
      return DataLoss("the metadata lists " + ToString(index) +
                      " and does not say where it is stored");
    }
    const StorageInfo& info = place->second;
    layout_.parts.push_back({.fqn = index.fqn,
                             .chunk = std::move(chunk),
                             .file = positions_.at(info.relative_path),
                             .byte_offset = info.offset,
                             .nbytes = info.length});
    return absl::OkStatus();
  }

  /// What several keys share has one place.
  Status MeasureFiles() {
    using Place = std::tuple<size_t, int64_t, int64_t>;
    std::vector<Place> places;
    places.reserve(layout_.parts.size());
    for (const StoredPart& part : layout_.parts) {
      places.emplace_back(part.file, part.byte_offset, part.nbytes);
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    int64_t total = 0;
    for (const auto& [position, offset, nbytes] : places) {
      FileLayout& file = layout_.files[position];
      if (nbytes < 0 || __builtin_add_overflow(total, nbytes, &total)) {
        return DataLoss("the metadata is damaged: up to the file " + file.name +
                        " there would be 2^63 bytes or more");
      }
      file.nbytes += nbytes;
      ++file.items;
    }
    return absl::OkStatus();
  }

  void AddRanks() {
    std::map<int64_t, RankLayout> ranks;
    for (const FileLayout& file : layout_.files) {
      if (!file.rank) return;
      RankLayout& rank = ranks[*file.rank];
      rank.rank = *file.rank;
      ++rank.files;
      rank.nbytes += file.nbytes;
      rank.items += file.items;
    }
    for (const auto& [number, rank] : ranks) layout_.ranks.push_back(rank);
  }

  const Metadata& metadata_;
  CheckpointLayout layout_;
  std::map<std::string_view, size_t> positions_;
};

}  // namespace

StatusOr<CheckpointLayout> DescribeLayout(const std::string& path,
                                          const LayoutOptions& options,
                                          StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<CheckpointLayout> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    DCP_ASSIGN_OR_RETURN(const auto opened,
                         OpenToLook(path, options.io, seams));
    DCP_ASSIGN_OR_RETURN(CheckpointLayout layout,
                         LayoutBuilder(opened->index.metadata).Build());
    layout.format = opened->format;
    return layout;
  });
}

}  // namespace dcp
