#include "format/metadata_parser.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "dcp/metadata_codec.h"
#include "format/layout_names.h"
#include "format/metadata_scanner.h"
#include "format/pickle_reader.h"

namespace dcp {

namespace {

/// For what few files have, and for damage, of which it finds out what it is.
StatusOr<Metadata> ParseGraph(std::string_view pickle) {
  const size_t most = PickleOptions().max_nbytes;
  if (pickle.size() > most) {
    return DataLoss("metadata of " + std::to_string(pickle.size()) +
                    " bytes are damaged, or not in the form in which torch and "
                    "dcp write them: in others at most " +
                    std::to_string(most) + " bytes are read");
  }
  DCP_ASSIGN_OR_RETURN(const PickleGraph graph, ReadPickle(pickle));
  return MetadataParser(graph).Parse();
}

}  // namespace

StatusOr<Metadata> ParseMetadata(std::string_view pickle) {
  auto metadata = MetadataScanner(pickle).Scan();
  return metadata ? *std::move(metadata) : ParseGraph(pickle);
}

StatusOr<Metadata> ParseMetadataWithoutPaths(std::string_view pickle) {
  using enum MetadataScanner::Paths;
  auto metadata = MetadataScanner(pickle, kSkip).Scan();
  return metadata ? *std::move(metadata) : ParseGraph(pickle);
}

StatusOr<Metadata> MetadataParser::Parse() {
  if (ParseRoot()) return std::move(metadata_);
  if (context_.empty()) return Annotate(decoder_.status(), "metadata");
  return Annotate(decoder_.status(),
                  "metadata of \"" + std::string(context_) + "\"");
}

bool MetadataParser::Require(bool has_budget) {
  return has_budget ||
         decoder_.Fail("the " + std::to_string(graph_.nbytes()) +
                       " bytes name the same values so often that copies need "
                       "too much memory");
}

bool MetadataParser::Ignore(std::string_view name) {
  if (!Require(budget_.TakeItemText(name))) return false;
  std::vector<std::string>& ignored = metadata_.ignored_attributes;
  constexpr size_t kMaxIgnored = 100;
  if (ignored.size() < kMaxIgnored &&
      std::find(ignored.begin(), ignored.end(), name) == ignored.end()) {
    ignored.emplace_back(name);
  }
  return true;
}

bool MetadataParser::ParseRoot() {
  std::span<const PickleId> attributes;
  if (!decoder_.Attributes(graph_.root(), PickleGlobal::kMetadata,
                           "the pickled object", &attributes)) {
    return false;
  }
  bool has_entries = false;
  // storage_data is checked against the entries, so they come first.
  for (const bool entries_first : {true, false}) {
    for (size_t i = 0; i < attributes.size(); i += 2) {
      std::string_view name;
      if (!decoder_.String(attributes[i], "an attribute's name", &name)) {
        return false;
      }
      const bool is_entries = name == "state_dict_metadata";
      if (is_entries != entries_first) continue;
      if (is_entries && std::exchange(has_entries, true)) {
        return decoder_.Fail("state_dict_metadata is there twice");
      }
      if (!ParseAttribute(name, attributes[i + 1])) return false;
    }
  }
  return has_entries || decoder_.Fail("state_dict_metadata is missing");
}

bool MetadataParser::ParseAttribute(std::string_view name, PickleId value) {
  if (name == "state_dict_metadata") return ParseEntries(value);
  if (name == "storage_data") return ParseStorageData(value);
  if (name == "planner_data") return ParsePlannerData(value);
  if (name == "storage_meta") return ParseStorageMeta(value);
  if (name == "version") {
    return ParseOptionalString(value, name, &metadata_.version);
  }
  return Ignore(name);
}

bool MetadataParser::ParseEntries(PickleId id) {
  std::span<const PickleId> items;
  if (!decoder_.Dict(id, "state_dict_metadata", &items)) return false;
  metadata_.Reserve(items.size() / 2);
  for (size_t i = 0; i < items.size(); i += 2) {
    std::string_view fqn;
    if (!decoder_.String(items[i], "a key of state_dict_metadata", &fqn)) {
      return false;
    }
    context_ = fqn;
    if (!ParseEntry(fqn, items[i + 1])) return false;
  }
  context_ = {};
  return true;
}

bool MetadataParser::ParseEntry(std::string_view fqn, PickleId id) {
  StorageMetadata value = BytesStorageMetadata{};
  if (!graph_.Is(id, PickleKind::kObject,
                 PickleGlobal::kBytesStorageMetadata)) {
    if (!ParseTensor(id, &value.emplace<TensorStorageMetadata>())) return false;
  }
  const size_t count = metadata_.entries().size();
  metadata_.Add(fqn, std::move(value));
  return metadata_.entries().size() > count ||
         decoder_.Fail("the key is there twice");
}

bool MetadataParser::ParseTensor(PickleId id, TensorStorageMetadata* tensor) {
  std::span<const PickleId> attributes;
  if (!decoder_.Attributes(id, PickleGlobal::kTensorStorageMetadata,
                           "its entry", &attributes)) {
    return false;
  }
  unsigned found = 0;
  for (size_t i = 0; i < attributes.size(); i += 2) {
    std::string_view name;
    if (!decoder_.String(attributes[i], "an attribute's name", &name)) {
      return false;
    }
    const PickleId value = attributes[i + 1];
    if (name == "properties") {
      if (!ParseProperties(value, &tensor->properties)) return false;
      found |= 1;
    } else if (name == "size") {
      if (!Ints(value, "size", &tensor->size)) return false;
      found |= 2;
    } else if (name == "chunks") {
      std::span<const PickleId> chunks;
      if (!decoder_.Sequence(value, "chunks", &chunks)) return false;
      // Chunks that are not the same have nodes of their own.
      chunk_count_ += chunks.size();
      if (!Require(chunk_count_ <= graph_.size())) return false;
      tensor->chunks.resize(chunks.size());
      for (size_t c = 0; c < chunks.size(); ++c) {
        if (!ParseChunk(chunks[c], &tensor->chunks[c])) return false;
      }
      found |= 4;
    } else if (name == "storage_key") {
      return decoder_.Fail(
          "written by torch 1.12, whose format no later torch reads",
          absl::StatusCode::kUnimplemented);
    } else if (!Ignore("TensorStorageMetadata." + std::string(name))) {
      return false;
    }
  }
  if (found != 7) {
    return decoder_.Fail("properties, size or chunks are missing");
  }
  return CheckTensor(*tensor);
}

bool MetadataParser::ParseProperties(PickleId id,
                                     TensorProperties* properties) {
  // torch 2.13 metadata.py TensorProperties.__getstate__: a 5-tuple.
  std::span<const PickleId> state;
  if (!graph_.Is(id, PickleKind::kObject, PickleGlobal::kTensorProperties) ||
      graph_.state(id) == kNoPickleId) {
    return decoder_.Mismatch(id, "properties", "TensorProperties");
  }
  if (!decoder_.Sequence(graph_.state(id), "properties", &state)) return false;
  // Later torch appends to it (2.15: the strides), and reads 5 parts as well.
  if (state.size() < 5) return decoder_.Fail("properties has not 5 parts");
  return ParseDType(state[0], &properties->dtype) &&
         ParseLayoutValue(state[1], &properties->layout) &&
         decoder_.Bool(state[2], "requires_grad", &properties->requires_grad) &&
         ParseMemoryFormat(state[3], &properties->memory_format) &&
         decoder_.Bool(state[4], "pin_memory", &properties->pin_memory);
}

bool MetadataParser::ParseDType(PickleId id, DType* dtype) {
  const PickleNode& node = graph_[id];
  if (node.kind != PickleKind::kGlobal) {
    return decoder_.Mismatch(id, "dtype", "a torch.dtype");
  }
  if (node.global == PickleGlobal::kUnknownDType) {
    return decoder_.Fail("dtype " + graph_.GlobalName(id) +
                             " is not known to this version of dcp",
                         absl::StatusCode::kUnimplemented);
  }
  if (node.global != PickleGlobal::kDType) {
    return decoder_.Mismatch(id, "dtype", "a torch.dtype");
  }
  *dtype = node.dtype;
  return true;
}

bool MetadataParser::ParseLayoutValue(PickleId id, Layout* layout) {
  std::string_view name;
  if (!graph_.Is(id, PickleKind::kReduce, PickleGlobal::kGetLayout) ||
      graph_.items(graph_.arguments(id)).size() != 1) {
    return decoder_.Mismatch(id, "layout", "a torch.layout");
  }
  const PickleId argument = graph_.items(graph_.arguments(id))[0];
  if (!decoder_.String(argument, "layout", &name)) return false;
  const std::optional<Layout> parsed = ParseLayout(name);
  if (!parsed) {
    return decoder_.Fail(
        "layout " + Printable(name) + " is not known to this version of dcp",
        absl::StatusCode::kUnimplemented);
  }
  *layout = *parsed;
  return true;
}

}  // namespace dcp
