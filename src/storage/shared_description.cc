#include "storage/shared_description.h"

#include <utility>

#include "format/safetensors_index.h"
#include "storage/limits.h"

namespace dcp {

StatusOr<std::string> MakeIndex(const SharedLayout& layout,
                                std::span<const std::string> names,
                                std::string_view save_id) {
  SafetensorsIndex index{.total_size = layout.total_nbytes,
                         .total_parameters = layout.total_parameters,
                         .save_id = std::string(save_id)};
  for (size_t f = 0; f < layout.files.size(); ++f) {
    for (const std::string& fqn : layout.files[f].fqns) {
      index.weight_map.emplace(fqn, names[f]);
    }
  }
  return SerializeSafetensorsIndex(index);
}

Metadata DescribeLayout(const SharedLayout& layout,
                        std::span<const std::string> names,
                        const Metadata& planned) {
  Metadata metadata;
  for (size_t f = 0; f < layout.files.size(); ++f) {
    const SharedLayoutFile& file = layout.files[f];
    for (size_t t = 0; t < file.fqns.size(); ++t) {
      const SharedPartTensor& tensor = file.tensors[t];
      if (metadata.Find(file.fqns[t]) == nullptr) {
        TensorStorageMetadata whole = *planned.FindTensor(file.fqns[t]);
        whole.properties = {.dtype = tensor.dtype};
        if (!tensor.origin) whole.chunks = {WholeBox(whole.size)};
        metadata.Add(file.fqns[t], std::move(whole));
      }
      const Dims begin = Dims::Filled(tensor.sizes.size(), 0);
      metadata.storage_data.emplace(
          MetadataIndex{.fqn = file.fqns[t],
                        .offset = tensor.origin.value_or(begin)},
          StorageInfo{.relative_path = names[f],
                      .offset = tensor.begin,
                      .length = tensor.nbytes()});
    }
  }
  metadata.version = std::string(kMetadataVersion);
  return metadata;
}

}  // namespace dcp
