// From JSON to the parts of a safetensors header.

#ifndef DCP_FORMAT_SAFETENSORS_HEADER_HANDLER_H_
#define DCP_FORMAT_SAFETENSORS_HEADER_HANDLER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/json_reader.h"
#include "format/safetensors_header.h"

namespace dcp {

/// Takes metadata and tensors, in the order of the text, out of a header. What
/// each part says by itself is checked; whether the parts fit together is not.
class SafetensorsHeaderHandler final : public JsonHandler {
 public:
  /// `header` must outlive the handler.
  explicit SafetensorsHeaderHandler(SafetensorsHeader* header)
      : header_(*header) {}

  Status Handle(const JsonEvent& event) override;

 private:
  /// What the value of a tensor's key is about.
  enum class Field : uint8_t { kDType, kShape, kDataOffsets, kOther };

  bool in_metadata() const { return name_ == kSafetensorsMetadataKey; }

  Status Entry(const JsonEvent& event);
  Status MetadataPart(const JsonEvent& event);
  Status TensorPart(const JsonEvent& event);
  Status DTypePart(const JsonEvent& event);
  Status NumbersPart(const JsonEvent& event);
  Status FinishTensor();
  void StartTensor();
  std::string_view FieldName() const;

  SafetensorsHeader& header_;
  std::string name_;  // of the entry that is read
  std::string metadata_key_;

  // The tensor that is read.
  Field field_ = Field::kOther;
  std::optional<SafetensorsDType> dtype_;
  std::optional<std::vector<int64_t>> shape_;
  std::optional<std::vector<int64_t>> data_offsets_;
};

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_HEADER_HANDLER_H_
