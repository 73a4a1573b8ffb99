// MetadataParser: the pickle graph of a `.metadata` file -> Metadata.

#ifndef DCP_FORMAT_METADATA_PARSER_H_
#define DCP_FORMAT_METADATA_PARSER_H_

#include <optional>
#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "format/pickle_decoder.h"

namespace dcp {

/// Used once, by ParseMetadata. Methods return false after a failure, which
/// the decoder keeps; `context_` says which key it happened in.
class MetadataParser {
 public:
  explicit MetadataParser(const PickleGraph& graph)
      : decoder_(graph), graph_(graph) {}
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
  void ParsePlannerData(PickleId id);
  std::optional<ObjectPath> ParsePath(PickleId id) const;
  void ParseStorageMeta(PickleId id);
  void ParseModules(PickleId id, std::vector<std::string>* modules);
  std::optional<std::string> ParseOptionalString(PickleId id,
                                                 std::string_view name);
  std::optional<std::string> ParsePathObject(PickleId id) const;

  /// Records an attribute that is not kept.
  void Ignore(std::string_view name);

  PickleDecoder decoder_;
  const PickleGraph& graph_;
  Metadata metadata_;
  std::string_view context_;
  size_t position_ = 0;  // of the last entry that CheckIndex found
};

}  // namespace dcp

#endif  // DCP_FORMAT_METADATA_PARSER_H_
