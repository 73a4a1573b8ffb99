#include "storage/hugging_face_builder.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <string_view>
#include <variant>

#include "format/safetensors_sharding.h"
#include "storage/checked_read.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

Status Damage(std::string_view what, const std::string& path,
              const std::string& fqn) {
  return CorruptionError(what, {.op = "read", .path = path, .fqn = fqn});
}

Status Damage(const Status& status, const std::string& path) {
  const ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{});
  return Damage(Message(status), path, detail.fqn);
}

bool Fits(const Dims& offsets, const Dims& shape) {
  if (offsets.size() != shape.size()) return false;
  for (int d = 0; d < shape.size(); ++d) {
    if (offsets[d] > std::numeric_limits<int64_t>::max() - shape[d]) {
      return false;
    }
  }
  return true;
}

/// Where the parts in a rank's file belong, by key; nullopt for other files.
StatusOr<std::optional<std::map<std::string, Dims>>> Offsets(
    const SafetensorsHeader& header, const std::string& path) {
  const auto info = header.metadata.find(std::string(kShardingInfoKey));
  if (info == header.metadata.end()) return std::nullopt;
  auto offsets = ParseShardingInfo(info->second);
  if (!offsets.ok()) return Damage(offsets.status(), path);
  for (const SafetensorsTensor& tensor : header.tensors) {
    const auto found = offsets->find(tensor.name);
    if (found == offsets->end() || !Fits(found->second, tensor.shape)) {
      return Damage("the file does not say which part of it it holds", path,
                    tensor.name);
    }
  }
  return *std::move(offsets);
}

using Tensors = std::map<std::string_view, const SafetensorsTensor*>;

/// Those of `tensors` that the index has in this file.
StatusOr<Tensors> Listed(const Tensors& tensors,
                         const std::vector<std::string>& keys,
                         const std::string& path) {
  Tensors listed;
  for (const std::string& key : keys) {
    const auto found = tensors.find(key);
    if (found == tensors.end()) {
      return Damage("the index names a file that has no such tensor", path,
                    key);
    }
    listed.insert(*found);
  }
  return listed;
}

Dims Reach(const Box& box, Dims size) {
  for (int d = 0; d < box.ndim(); ++d) {
    size[d] = std::max(size[d], box.offsets[d] + box.sizes[d]);
  }
  return size;
}

}  // namespace

HuggingFaceBuilder::HuggingFaceBuilder(FileSystem& file_system,
                                       const std::string& directory)
    : file_system_(file_system),
      directory_(directory),
      root_(ReadRoot(directory)) {}

void HuggingFaceBuilder::CheckBy(const Sidecar& sidecar) {
  for (const SidecarFile& file : sidecar.files) records_[file.name] = &file;
}

Status HuggingFaceBuilder::AddFile(const std::string& name,
                                   const std::vector<std::string>* keys) {
  const std::string path = JoinPath(directory_, name);
  const auto record = records_.find(name);
  DCP_ASSIGN_OR_RETURN(
      const SafetensorsHeader header,
      ReadHeader(path, record == records_.end() ? nullptr : record->second));
  DCP_ASSIGN_OR_RETURN(const auto offsets, Offsets(header, path));
  if (!offsets) whole_files_.push_back(name);
  Tensors tensors;
  for (const SafetensorsTensor& tensor : header.tensors) {
    tensors.emplace(tensor.name, &tensor);
  }
  if (keys != nullptr) {
    DCP_ASSIGN_OR_RETURN(tensors, Listed(tensors, *keys, path));
  }
  for (const auto& [key, tensor] : tensors) {
    std::optional<Dims> offset;
    if (offsets) offset = offsets->at(tensor->name);
    DCP_RETURN_IF_ERROR(Add(*tensor, header.data_offset, offset, name));
  }
  // As safetensors.torch.save_model, and a save of ours, tells of tied weights.
  for (const auto& [alias, key] : header.metadata) {
    if (!offsets && !IsReservedKey(alias) && tensors.contains(key)) {
      aliases_.emplace(alias, key);
    }
  }
  return absl::OkStatus();
}

Metadata HuggingFaceBuilder::Take() && {
  for (const auto& [alias, key] : aliases_) {
    if (metadata_.Find(alias) != nullptr) continue;
    const TensorStorageMetadata tensor = *metadata_.FindTensor(key);
    const Dims start = Dims::Filled(tensor.size.size(), 0);
    const StorageInfo place =
        metadata_.storage_data.at({.fqn = key, .offset = start});
    metadata_.Add(alias, tensor);
    metadata_.storage_data.emplace(MetadataIndex{.fqn = alias, .offset = start},
                                   place);
  }
  return std::move(metadata_);
}

StatusOr<SafetensorsHeader> HuggingFaceBuilder::ReadHeader(
    const std::string& path, const SidecarFile* record) const {
  DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                       file_system_.Open(path, {.beneath = root_}));
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
  if (record != nullptr && record->nbytes != nbytes) {
    return CorruptionError("the file has " + std::to_string(nbytes) +
                               " bytes, " + std::to_string(record->nbytes) +
                               " were written",
                           {.op = "open", .path = path});
  }
  DCP_ASSIGN_OR_RETURN(std::vector<std::byte> head,
                       ReadChecked(*file, nullptr, 0,
                                   std::min(nbytes, kSafetensorsLengthNbytes)));
  const StatusOr<int64_t> all = SafetensorsHeadNbytes(head, nbytes);
  if (!all.ok()) return Damage(all.status(), path);
  DCP_ASSIGN_OR_RETURN(head, ReadChecked(*file, record, 0, *all));
  StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(head, nbytes);
  if (!header.ok()) return Damage(header.status(), path);
  return header;
}

Status HuggingFaceBuilder::Add(const SafetensorsTensor& stored,
                               int64_t data_offset,
                               const std::optional<Dims>& offsets,
                               const std::string& name) {
  const std::string path = JoinPath(directory_, name);
  const SafetensorsDTypeInfo& type = GetSafetensorsDTypeInfo(stored.dtype);
  const std::optional<Dims> sizes = TorchShapeOf(stored.dtype, stored.shape);
  if (!type.torch || !sizes) {
    return Unimplemented("torch has no type for the tensor " + stored.name +
                         " in " + path + ", " + std::string(type.name) +
                         " of shape " + ToString(stored.shape));
  }
  const Box box{.offsets = offsets.value_or(Dims::Filled(sizes->size(), 0)),
                .sizes = *sizes};
  const bool is_new =
      metadata_.storage_data
          .emplace(MetadataIndex{.fqn = stored.name, .offset = box.offsets},
                   StorageInfo{.relative_path = name,
                               .offset = data_offset + stored.begin,
                               .length = stored.end - stored.begin})
          .second;
  if (!is_new) {
    return Damage("it is in " + files_.at(stored.name) +
                      " too, and no index says which of them counts",
                  path, stored.name);
  }
  return AddChunk(stored.name, *type.torch, box, name);
}

Status HuggingFaceBuilder::AddChunk(const std::string& key, DType dtype,
                                    const Box& box, const std::string& name) {
  const auto& [first, is_first] = files_.emplace(key, name);
  if (is_first) {
    metadata_.Add(key, TensorStorageMetadata{.properties = {.dtype = dtype},
                                             .size = Reach(box, box.sizes),
                                             .chunks = {box}});
  }
  auto& tensor = std::get<TensorStorageMetadata>(*metadata_.FindMutable(key));
  if (!is_first) {
    if (tensor.properties.dtype != dtype ||
        tensor.size.size() != box.sizes.size()) {
      return Damage("its part in " + first->second +
                        " has another type or number of dimensions",
                    JoinPath(directory_, name), key);
    }
    tensor.size = Reach(box, tensor.size);
    tensor.chunks.push_back(box);
  }
  if (CheckedNumel(tensor.size)) return absl::OkStatus();
  return Damage("its parts reach so far that it would have 2^63 elements",
                JoinPath(directory_, name), key);
}

}  // namespace dcp
