// 1. Tensors are given to files: by the caller's numbers, or as Hugging Face's
//    tools do it, in the order of the plan.
// 2. A file's header fixes the place of each of its tensors.
// 3. Every box that a rank is to write becomes a chunk of its tensor, and the
//    bytes of a file are given to ranks as the chunks lie (AssignExtents).

#include "storage/shared_layout.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "format/safetensors_sharding.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_items.h"

namespace dcp {
namespace {

struct PlannedTensor {
  std::string_view fqn;
  const TensorStorageMetadata* metadata = nullptr;
  int64_t nbytes = 0;
  std::vector<SharedPartChunk> chunks;
  /// What all ranks that have some of it say; nullopt: none has said anything.
  std::optional<std::string_view> tied_to;
};

StatusOr<std::vector<PlannedTensor>> TensorsOf(const GlobalPlan& plan) {
  std::vector<PlannedTensor> tensors;
  std::unordered_map<std::string_view, size_t> places;
  for (const auto& [fqn, entry] : plan.metadata.entries()) {
    const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
    if (tensor == nullptr) {
      return InvalidArgument(fqn +
                             " is no tensor, and safetensors files hold "
                             "nothing else");
    }
    places.emplace(fqn, tensors.size());
    tensors.push_back(
        {.fqn = fqn,
         .metadata = tensor,
         .nbytes = Numel(tensor->size) * ItemSize(tensor->properties.dtype)});
  }
  for (size_t rank = 0; rank < plan.plans.size(); ++rank) {
    const auto& items = plan.plans[rank].items;
    const auto& ties = plan.plans[rank].ties;
    for (size_t i = 0; i < items.size(); ++i) {
      PlannedTensor& tensor = tensors[places.at(items[i].fqn)];
      tensor.chunks.push_back({.box = items[i].chunk,
                               .rank = static_cast<int>(rank),
                               .source = items[i].source});
      if (items[i].chunk.numel() == 0) continue;  // it has no memory
      const auto tie = ties.find(items[i].fqn);
      std::string_view tied_to;
      if (tie != ties.end()) tied_to = tie->second;
      const bool agrees = tensor.tied_to.value_or(tied_to) == tied_to;
      tensor.tied_to = agrees ? tied_to : "";
    }
  }
  return tensors;
}

/// Takes the other names of tensors that are stored under one out of `tensors`.
std::map<std::string, std::string> TakeAliases(
    std::vector<PlannedTensor>* tensors) {
  std::unordered_map<std::string_view, const PlannedTensor*> kept;
  for (const PlannedTensor& tensor : *tensors) {
    if (tensor.tied_to.value_or("").empty()) kept.emplace(tensor.fqn, &tensor);
  }
  const auto is_alias = [&](const PlannedTensor& tensor) {
    const auto of = kept.find(tensor.tied_to.value_or(""));
    return of != kept.end() && !IsReservedKey(tensor.fqn) &&
           of->second->metadata->size == tensor.metadata->size &&
           of->second->metadata->properties.dtype ==
               tensor.metadata->properties.dtype;
  };
  std::map<std::string, std::string> aliases;
  std::vector<PlannedTensor> rest;
  for (PlannedTensor& tensor : *tensors) {
    if (is_alias(tensor)) {
      aliases.emplace(tensor.fqn, tensor.tied_to.value_or(""));
    } else {
      rest.push_back(std::move(tensor));
    }
  }
  *tensors = std::move(rest);
  return aliases;
}

using Files = std::map<int64_t, std::vector<size_t>>;  // number -> tensors

StatusOr<Files> FilesByNumber(const std::vector<PlannedTensor>& tensors,
                              const SharedLayoutOptions& options) {
  Files files;
  for (size_t i = 0; i < tensors.size(); ++i) {
    DCP_ASSIGN_OR_RETURN(const int64_t number,
                         FileNumberOf(options.file_numbers, tensors[i].fqn));
    files[number].push_back(i);
  }
  return files;
}

Files FilesBySize(const std::vector<PlannedTensor>& tensors,
                  int64_t max_nbytes) {
  std::vector<ShardTensor> sizes;
  sizes.reserve(tensors.size());
  for (const PlannedTensor& tensor : tensors) {
    sizes.push_back({.nbytes = tensor.nbytes});
  }
  Files files;
  for (SafetensorsShard& shard : SplitIntoShards(sizes, max_nbytes)) {
    const auto number = static_cast<int64_t>(files.size()) + 1;
    files[number] = std::move(shard.tensors);
  }
  // An empty state is one file without tensors.
  if (files.empty()) files[1] = {};
  return files;
}

/// One file, without extents. Moves the chunks out of `tensors`.
StatusOr<SharedLayoutFile> LayOutFile(
    const std::vector<size_t>& members,
    const std::map<std::string, std::string>& aliases,
    std::vector<PlannedTensor>& tensors) {
  std::vector<SafetensorsTensor> described;
  std::unordered_map<std::string_view, PlannedTensor*> by_name;
  for (const size_t i : members) {
    const TensorStorageMetadata& metadata = *tensors[i].metadata;
    DCP_ASSIGN_OR_RETURN(
        SafetensorsTensor tensor,
        DescribeTensor(tensors[i].fqn, metadata.properties.dtype,
                       metadata.size));
    described.push_back(std::move(tensor));
    by_name.emplace(tensors[i].fqn, &tensors[i]);
  }
  // As safetensors.torch.save_model names them.
  std::map<std::string, std::string> metadata = {
      {std::string(kFrameworkKey), "pt"}};
  for (const auto& [alias, fqn] : aliases) {
    if (by_name.contains(fqn)) metadata.emplace(alias, fqn);
  }
  SharedLayoutFile file;
  DCP_ASSIGN_OR_RETURN(
      file.head,
      SerializeSafetensorsHeader(std::move(described), std::move(metadata)));
  for (const SafetensorsTensor& placed : file.head.header.tensors) {
    PlannedTensor& tensor = *by_name.at(placed.name);
    file.fqns.push_back(placed.name);
    file.tensors.push_back(
        {.begin = file.head.header.data_offset + placed.begin,
         .dtype = tensor.metadata->properties.dtype,
         .sizes = tensor.metadata->size,
         .chunks = std::move(tensor.chunks)});
  }
  return file;
}

void AssignFile(const SharedLayoutOptions& options, SharedLayoutFile* file,
                std::vector<int64_t>* load) {
  std::vector<SharedTensor> tensors;
  std::vector<SharedChunk> chunks;
  for (const SharedPartTensor& tensor : file->tensors) {
    for (const SharedPartChunk& chunk : tensor.chunks) {
      chunks.push_back(
          {.tensor = tensors.size(), .box = chunk.box, .rank = chunk.rank});
    }
    tensors.push_back({.begin = tensor.begin,
                       .sizes = tensor.sizes,
                       .itemsize = ItemSize(tensor.dtype)});
  }
  ExtentOptions extents{.alignment = kSharedAlignment,
                        .min_nbytes = kSharedAlignment};
  if (options.one_writer_per_file) {
    extents.min_nbytes = std::numeric_limits<int64_t>::max();
  }
  file->extents = AssignExtents(file->nbytes(), tensors, chunks, extents, load);
}

}  // namespace

StatusOr<SharedLayout> LayOutSharedFiles(const GlobalPlan& plan,
                                         const SharedLayoutOptions& options) {
  // Also of one rank alone, which may hold a part: the file holds it all.
  DCP_RETURN_IF_ERROR(
      ValidateChunks(plan.metadata, CoverageRule::kRequireFull));
  DCP_ASSIGN_OR_RETURN(std::vector<PlannedTensor> tensors, TensorsOf(plan));
  SharedLayout layout;
  layout.aliases = TakeAliases(&tensors);
  Files files;
  if (options.file_numbers.empty()) {
    files = FilesBySize(tensors, options.max_file_nbytes);
  } else {
    DCP_ASSIGN_OR_RETURN(files, FilesByNumber(tensors, options));
  }
  std::vector<int64_t> load(plan.plans.size(), 0);
  for (const PlannedTensor& tensor : tensors) {
    layout.total_nbytes += tensor.nbytes;
    layout.total_parameters += Numel(tensor.metadata->size);
  }
  for (const auto& [_, members] : files) {
    DCP_ASSIGN_OR_RETURN(SharedLayoutFile file,
                         LayOutFile(members, layout.aliases, tensors));
    AssignFile(options, &file, &load);
    layout.files.push_back(std::move(file));
  }
  return layout;
}

}  // namespace dcp
