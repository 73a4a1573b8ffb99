// MetadataParser: the pickle graph of a `.metadata` file -> Metadata.

#ifndef DCP_FORMAT_METADATA_PARSER_H_
#define DCP_FORMAT_METADATA_PARSER_H_

#include <optional>
#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "format/metadata_limits.h"
#include "format/pickle_decoder.h"

namespace dcp {

/// ParseMetadata, but planner_data is left out where that spares the time that
/// it takes. Only who rebuilds a nested state needs it.
StatusOr<Metadata> ParseMetadataWithoutPaths(std::string_view pickle);

/// Used once, by ParseMetadata. Methods return false after a failure, which
/// the decoder keeps; `context_` says which key it happened in.
class MetadataParser {
 public:
  explicit MetadataParser(const PickleGraph& graph)
      : decoder_(graph), graph_(graph), budget_(graph.nbytes()) {}
  StatusOr<Metadata> Parse();

 private:
  bool ParseRoot();
  bool ParseAttribute(std::string_view name, PickleId value);

  // state_dict_metadata (metadata_parser.cc)
  bool ParseEntries(PickleId id);
  bool ParseEntry(std::string_view fqn, PickleId id);
  bool ParseTensor(PickleId id, TensorStorageMetadata* tensor);
  bool ParseProperties(PickleId id, TensorProperties* properties);
  bool ParseDType(PickleId id, DType* dtype);
  bool ParseLayoutValue(PickleId id, Layout* layout);
  bool ParseMemoryFormat(PickleId id, MemoryFormat* format);
  bool ParseChunk(PickleId id, Box* chunk);
  bool CheckTensor(const TensorStorageMetadata& tensor);
  bool CheckChunk(const Dims& size, const Box& chunk);

  // The other attributes (metadata_parser_storage.cc)
  bool ParseStorageData(PickleId id);
  bool ParseIndex(PickleId id, MetadataIndex* index);
  bool ParseStorageInfo(PickleId id, StorageInfo* info);
  bool CheckRange(const StorageInfo& info);
  bool ParseTransforms(PickleId id, std::vector<std::string>* descriptors);
  bool CheckIndex(const MetadataIndex& index);
  bool ParsePlannerData(PickleId id);
  bool ParsePath(PickleId id, std::optional<ObjectPath>* path);
  bool ParseStorageMeta(PickleId id);
  bool ParseStorageMetaAttribute(std::string_view name, PickleId value,
                                 StorageMeta* meta);
  bool ParseModules(PickleId id, std::vector<std::string>* modules);
  bool ParseOptionalString(PickleId id, std::string_view name,
                           std::optional<std::string>* text);
  bool ParsePathObject(PickleId id, std::optional<std::string>* path);

  bool Ints(PickleId id, std::string_view what, Dims* value) {
    return decoder_.Ints(id, what, value) && Require(budget_.TakeDims(*value));
  }
  /// `has_budget` of what is copied; a failure if not.
  bool Require(bool has_budget);
  /// Records an attribute that is not kept.
  bool Ignore(std::string_view name);

  PickleDecoder decoder_;
  const PickleGraph& graph_;
  CopyBudget budget_;
  Metadata metadata_;
  std::string_view context_;
  size_t chunk_count_ = 0;
  size_t position_ = 0;  // of the last entry that CheckIndex found
};

}  // namespace dcp

#endif  // DCP_FORMAT_METADATA_PARSER_H_
