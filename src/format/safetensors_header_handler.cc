#include "format/safetensors_header_handler.h"

#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include "base/printable.h"
#include "format/safetensors_damage.h"

namespace dcp {

Status SafetensorsHeaderHandler::Handle(const JsonEvent& event) {
  switch (event.depth) {
    case 0:
      if (event.kind != JsonKind::kBeginObject &&
          event.kind != JsonKind::kEndObject) {
        return DataLoss("the header is not a JSON object");
      }
      return absl::OkStatus();
    case 1:
      return Entry(event);
    default:
      return in_metadata() ? MetadataPart(event) : TensorPart(event);
  }
}

Status SafetensorsHeaderHandler::Entry(const JsonEvent& event) {
  switch (event.kind) {
    case JsonKind::kKey:
      name_ = event.text;
      return absl::OkStatus();
    case JsonKind::kBeginObject:
      if (!in_metadata()) StartTensor();
      return absl::OkStatus();
    case JsonKind::kEndObject:
      return in_metadata() ? absl::OkStatus() : FinishTensor();
    case JsonKind::kNull:
      if (in_metadata()) return absl::OkStatus();
      break;
    default:
      break;
  }
  if (in_metadata()) return DataLoss("__metadata__ is not an object");
  return TensorDamage(name_, "is not described by an object");
}

Status SafetensorsHeaderHandler::MetadataPart(const JsonEvent& event) {
  if (event.kind == JsonKind::kKey) {
    metadata_key_ = event.text;
    return absl::OkStatus();
  }
  if (event.kind == JsonKind::kString) {
    header_.metadata[metadata_key_] = event.text;
    return absl::OkStatus();
  }
  return DataLoss("the value of \"" + Printable(metadata_key_) +
                  "\" in __metadata__ is not a string");
}

void SafetensorsHeaderHandler::StartTensor() {
  dtype_.reset();
  shape_.reset();
  data_offsets_.reset();
}

Status SafetensorsHeaderHandler::TensorPart(const JsonEvent& event) {
  if (event.kind == JsonKind::kKey && event.depth == 2) {
    field_ = event.text == "dtype"          ? Field::kDType
             : event.text == "shape"        ? Field::kShape
             : event.text == "data_offsets" ? Field::kDataOffsets
                                            : Field::kOther;
    return absl::OkStatus();
  }
  switch (field_) {
    case Field::kDType:
      return DTypePart(event);
    case Field::kShape:
    case Field::kDataOffsets:
      return NumbersPart(event);
    case Field::kOther:
      break;
  }
  return absl::OkStatus();
}

Status SafetensorsHeaderHandler::DTypePart(const JsonEvent& event) {
  if (event.kind != JsonKind::kString) {
    return TensorDamage(name_, "has a dtype that is not a string");
  }
  dtype_ = ParseSafetensorsDType(event.text);
  if (dtype_) return absl::OkStatus();
  return TensorDamage(
      name_, "has the dtype \"" + Printable(event.text) +
                 "\", which safetensors 0.8 does not know: if a newer version "
                 "of safetensors wrote the file, upgrade dcpcpp");
}

Status SafetensorsHeaderHandler::NumbersPart(const JsonEvent& event) {
  const bool is_shape = field_ == Field::kShape;
  std::optional<std::vector<int64_t>>& numbers =
      is_shape ? shape_ : data_offsets_;
  if (event.depth == 2) {
    if (event.kind == JsonKind::kBeginArray) {
      numbers.emplace();
      return absl::OkStatus();
    }
    if (event.kind == JsonKind::kEndArray) return absl::OkStatus();
  } else if (numbers && event.kind == JsonKind::kUnsigned &&
             event.number <= std::numeric_limits<int64_t>::max()) {
    const size_t limit = is_shape ? size_t{Dims::kMaxDims} : size_t{2};
    if (numbers->size() < limit) {
      numbers->push_back(static_cast<int64_t>(event.number));
      return absl::OkStatus();
    }
    return TensorDamage(name_,
                        is_shape ? "has more than 64 dimensions, torch's limit"
                                 : "has more than two data_offsets");
  }
  return TensorDamage(
      name_, "has a " + std::string(FieldName()) +
                 " that is not a list of whole numbers from 0 to 2^63 - 1");
}

std::string_view SafetensorsHeaderHandler::FieldName() const {
  return field_ == Field::kShape ? "shape" : "data_offsets";
}

Status SafetensorsHeaderHandler::FinishTensor() {
  if (!dtype_) return TensorDamage(name_, "has no dtype");
  if (!shape_) return TensorDamage(name_, "has no shape");
  if (!data_offsets_ || data_offsets_->size() != 2) {
    return TensorDamage(name_, "has no two data_offsets");
  }
  header_.tensors.push_back({.name = std::move(name_),
                             .dtype = *dtype_,
                             .shape = Dims(std::span<const int64_t>(*shape_)),
                             .begin = (*data_offsets_)[0],
                             .end = (*data_offsets_)[1]});
  name_.clear();
  return absl::OkStatus();
}

}  // namespace dcp
