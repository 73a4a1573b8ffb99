#include "simulate/metadata_sizer.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <variant>

#include "dcp/metadata_codec.h"

namespace dcp {
namespace {

// Some 350 bytes each, and 130 of the pickle.
constexpr int64_t kMaxItems = 500'000;

// What the zip around a tensor takes of a file, about: src/format/FORMAT.md.
constexpr int64_t kZipNbytes = 1600;

TensorStorageMetadata WithoutChunks(const StateSpec& spec,
                                    const StateEntry& entry) {
  if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
    return {.properties = whole->properties, .size = whole->size};
  }
  const auto& laid_out = std::get<LaidOutTensor>(entry.value);
  return {.properties = laid_out.properties,
          .size = spec.layouts[laid_out.layout].global_size};
}

StatusOr<int64_t> NbytesOfPickle(const Metadata& metadata) {
  DCP_ASSIGN_OR_RETURN(const std::string pickle, SerializeMetadata(metadata));
  return static_cast<int64_t>(pickle.size());
}

}  // namespace

MetadataSizer::MetadataSizer(const SimulatedJob& job,
                             const RankSample& sample) {
  const double held = static_cast<double>(job.items()) / sample.scale();
  every_ = static_cast<int64_t>(held) / kMaxItems + 1;
  std::unordered_map<std::string, ObjectPath> paths;
  for (const StateSpec& spec : job.specs) {
    for (const StateEntry& entry : spec.entries) {
      metadata_.Add(entry.fqn, WithoutChunks(spec, entry));
    }
    if (!spec.planner_data) continue;
    paths.insert(spec.planner_data->begin(), spec.planner_data->end());
  }
  metadata_.planner_data = std::move(paths);
}

void MetadataSizer::Add(uint32_t rank, const SavePlan& share) {
  ++ranks_taken_;
  const std::string path = "__" + std::to_string(rank) + "_0.distcp";
  int64_t end = 0;
  for (const WriteItem& item : share.items) {
    auto& tensor =
        std::get<TensorStorageMetadata>(*metadata_.FindMutable(item.fqn));
    MetadataIndex index = item.index();
    index.index = static_cast<int64_t>(tensor.chunks.size());
    tensor.chunks.push_back(item.chunk);
    ++items_added_;
    const int64_t length = item.nbytes + kZipNbytes;
    metadata_.storage_data.emplace(
        std::move(index),
        StorageInfo{.relative_path = path, .offset = end, .length = length});
    end += (length + 63) / 64 * 64;  // as items are aligned
  }
}

StatusOr<int64_t> MetadataSizer::NbytesOf(int64_t items) const {
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, NbytesOfPickle(metadata_));
  if (items_added_ == items || items_added_ == 0) return nbytes;
  Metadata empty;
  empty.planner_data = metadata_.planner_data;
  for (const auto& [fqn, entry] : metadata_.entries()) {
    const auto& tensor = std::get<TensorStorageMetadata>(entry);
    empty.Add(fqn, TensorStorageMetadata{.properties = tensor.properties,
                                         .size = tensor.size});
  }
  DCP_ASSIGN_OR_RETURN(const int64_t base, NbytesOfPickle(empty));
  const double each =
      static_cast<double>(nbytes - base) / static_cast<double>(items_added_);
  return base + static_cast<int64_t>(each * static_cast<double>(items));
}

}  // namespace dcp
