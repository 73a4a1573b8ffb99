#include "checkpoint/mapping_source.h"

#include <variant>

namespace dcp {

MappingSource MappingSourceOf(const std::string& fqn,
                              const StorageMetadata& stored) {
  MappingSource source{.name = fqn};
  const auto* const tensor = std::get_if<TensorStorageMetadata>(&stored);
  source.is_object = tensor == nullptr;
  if (tensor != nullptr) {
    source.sizes = tensor->size;
    source.dtype = tensor->properties.dtype;
  }
  return source;
}

}  // namespace dcp
