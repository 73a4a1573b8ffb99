// Parts of a tensor's entry: memory format and chunks.

#include <array>

#include "format/metadata_parser.h"
#include "format/possible_values.h"

namespace dcp {

bool MetadataParser::ParseMemoryFormat(PickleId id, MemoryFormat* format) {
  using enum PickleGlobal;
  // The enum's class called with the value; Python 3.11.0 to 3.11.3 wrote
  // getattr(class, name) instead.
  constexpr std::array<std::string_view, 3> kNames = {"TORCH_CONTIGUOUS_FORMAT",
                                                      "TORCH_CHANNELS_LAST",
                                                      "TORCH_PRESERVE_FORMAT"};
  int64_t value = -1;
  if (graph_.Is(id, PickleKind::kReduce, kMemFormatEncoding)) {
    const auto arguments = graph_.items(graph_.arguments(id));
    if (arguments.size() == 1 &&
        graph_.kind(arguments[0]) == PickleKind::kInt) {
      value = graph_[arguments[0]].integer;
    }
  } else if (graph_.Is(id, PickleKind::kReduce, kGetattr)) {
    const auto arguments = graph_.items(graph_.arguments(id));
    if (arguments.size() == 2 &&
        graph_[arguments[0]].global == kMemFormatEncoding &&
        graph_.kind(arguments[1]) == PickleKind::kString) {
      for (size_t i = 0; i < kNames.size(); ++i) {
        if (kNames[i] == graph_.text(arguments[1])) {
          value = static_cast<int64_t>(i);
        }
      }
    }
  }
  if (value < 0 || value >= static_cast<int64_t>(kNames.size())) {
    return decoder_.Fail("memory_format is not one of torch's encodings");
  }
  *format = static_cast<MemoryFormat>(value);
  return true;
}

bool MetadataParser::ParseChunk(PickleId id, Box* chunk) {
  std::span<const PickleId> attributes;
  if (!decoder_.Attributes(id, PickleGlobal::kChunkStorageMetadata, "a chunk",
                           &attributes)) {
    return false;
  }
  unsigned found = 0;
  for (size_t i = 0; i < attributes.size(); i += 2) {
    std::string_view name;
    if (!decoder_.String(attributes[i], "an attribute's name", &name)) {
      return false;
    }
    if (name == "offsets") {
      if (!Ints(attributes[i + 1], "offsets", &chunk->offsets)) return false;
      found |= 1;
    } else if (name == "sizes") {
      if (!Ints(attributes[i + 1], "sizes", &chunk->sizes)) return false;
      found |= 2;
    } else if (!Ignore("ChunkStorageMetadata." + std::string(name))) {
      return false;
    }
  }
  return found == 3 || decoder_.Fail("a chunk has no offsets or no sizes");
}

bool MetadataParser::CheckTensor(const TensorStorageMetadata& tensor) {
  if (!IsPossibleSize(tensor.size, tensor.properties.dtype)) {
    return decoder_.Fail("size " + ToString(tensor.size) + " is impossible");
  }
  for (const Box& chunk : tensor.chunks) {
    if (!CheckChunk(tensor.size, chunk)) return false;
  }
  return true;
}

bool MetadataParser::CheckChunk(const Dims& size, const Box& chunk) {
  if (IsPossibleChunk(size, chunk)) return true;
  if (chunk.offsets.size() != size.size() ||
      chunk.sizes.size() != size.size()) {
    return decoder_.Fail("chunk " + ToString(chunk) +
                         " has another number of dimensions than size " +
                         ToString(size));
  }
  return decoder_.Fail("chunk " + ToString(chunk) + " is outside of size " +
                       ToString(size));
}

}  // namespace dcp
