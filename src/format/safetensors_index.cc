#include "format/safetensors_index.h"

#include <algorithm>
#include <limits>

#include "base/printable.h"
#include "format/file_names.h"
#include "format/json_reader.h"
#include "format/json_writer.h"
#include "format/safetensors_damage.h"
#include "format/utf8.h"

namespace dcp {
namespace {

constexpr std::string_view kWeightMap = "weight_map";
constexpr std::string_view kMetadata = "metadata";
constexpr std::string_view kTotalSize = "total_size";
constexpr std::string_view kTotalParameters = "total_parameters";
constexpr std::string_view kSaveId = "dcpcpp_save_id";

class IndexHandler final : public JsonHandler {
 public:
  /// `index` must outlive the handler.
  explicit IndexHandler(SafetensorsIndex* index) : index_(*index) {}

  bool has_weight_map() const { return has_weight_map_; }

  Status Handle(const JsonEvent& event) override {
    if (event.depth == 0) return Document(event);
    if (event.depth == 1) return Section(event);
    if (section_ == kWeightMap) return Weight(event);
    if (section_ == kMetadata && event.depth == 2) Metadata(event);
    return absl::OkStatus();
  }

 private:
  static Status Document(const JsonEvent& event) {
    if (event.kind == JsonKind::kBeginObject ||
        event.kind == JsonKind::kEndObject) {
      return absl::OkStatus();
    }
    return DataLoss("it is not a JSON object");
  }

  Status Section(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      section_ = event.text;
      return absl::OkStatus();
    }
    if (section_ == kWeightMap) {
      has_weight_map_ = true;
      if (event.kind != JsonKind::kBeginObject &&
          event.kind != JsonKind::kEndObject) {
        return DataLoss("its weight_map is not an object");
      }
    }
    if (section_ == kMetadata && event.kind != JsonKind::kBeginObject &&
        event.kind != JsonKind::kEndObject && event.kind != JsonKind::kNull) {
      return DataLoss("its metadata is not an object");
    }
    return absl::OkStatus();
  }

  Status Weight(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      key_ = event.text;
      return absl::OkStatus();
    }
    if (event.kind != JsonKind::kString) {
      return TensorDamage(key_, "has a file name that is not a string");
    }
    if (!IsSafetensorsFilePath(event.text)) {
      return TensorDamage(key_, "is in the file \"" + Printable(event.text) +
                                    "\", which is no path below the index's "
                                    "directory");
    }
    index_.weight_map[key_] = event.text;
    return absl::OkStatus();
  }

  void Metadata(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      key_ = event.text;
    } else if (event.kind == JsonKind::kUnsigned &&
               event.number <= std::numeric_limits<int64_t>::max()) {
      const auto number = static_cast<int64_t>(event.number);
      if (key_ == kTotalSize) index_.total_size = number;
      if (key_ == kTotalParameters) index_.total_parameters = number;
    } else if (event.kind == JsonKind::kString && key_ == kSaveId &&
               IsDcpcppSaveId(event.text)) {
      index_.save_id = event.text;
    }
  }

  SafetensorsIndex& index_;
  std::string section_;  // the key of depth 1
  std::string key_;      // the one of depth 2
  bool has_weight_map_ = false;
};

Status ReadIndex(std::string_view text, SafetensorsIndex* index) {
  if (text.size() > kMaxSafetensorsIndexNbytes) {
    return DataLoss("it has " + std::to_string(text.size()) +
                    " bytes, more than the limit of 100,000,000");
  }
  IndexHandler handler(index);
  DCP_RETURN_IF_ERROR(ReadJson(text, handler));
  if (!handler.has_weight_map()) return DataLoss("it has no weight_map");
  return absl::OkStatus();
}

/// The members of an object in Python's json layout with indent=2.
class ObjectWriter {
 public:
  /// `indent`: the spaces before the object's end.
  ObjectWriter(int indent, std::string* out) : indent_(indent), out_(*out) {
    out_ += '{';
  }
  /// The value is to be appended by the caller.
  void Key(std::string_view key) {
    if (!is_empty_) out_ += ',';
    is_empty_ = false;
    NewLine(indent_ + 2);
    AppendJsonString(key, JsonEscapes::kAscii, &out_);
    out_ += ": ";
  }
  void End() {
    if (!is_empty_) NewLine(indent_);
    out_ += '}';
  }

 private:
  void NewLine(int spaces) {
    out_ += '\n';
    out_.append(static_cast<size_t>(spaces), ' ');
  }

  const int indent_;
  std::string& out_;
  bool is_empty_ = true;
};

Status CheckIndex(const SafetensorsIndex& index) {
  if (index.total_size.value_or(0) < 0 ||
      index.total_parameters.value_or(0) < 0) {
    return InvalidArgument("the totals of a safetensors index are negative");
  }
  if (index.save_id && !IsDcpcppSaveId(*index.save_id)) {
    return InvalidArgument("\"" + Printable(*index.save_id) +
                           "\" is no save id for a safetensors index");
  }
  for (const auto& [name, file] : index.weight_map) {
    if (!IsValidUtf8(name)) {
      return InvalidArgument("the tensor name \"" + Printable(name) +
                             "\" is not UTF-8, as a safetensors index needs");
    }
    if (!IsSafetensorsFilePath(file) || !IsValidUtf8(file)) {
      return InvalidArgument("the file name \"" + Printable(file) +
                             "\" of tensor \"" + Printable(name) +
                             "\" cannot be in a safetensors index");
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool IsSafetensorsFilePath(std::string_view name) {
  if (name.find('\\') != name.npos || name.find('\0') != name.npos) {
    return false;
  }
  for (;;) {
    const size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == name.npos) return true;
    name.remove_prefix(slash + 1);
  }
}

StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view text) {
  SafetensorsIndex index;
  DCP_RETURN_IF_ERROR(
      DamageOfFile("safetensors index", ReadIndex(text, &index)));
  return index;
}

StatusOr<std::string> SerializeSafetensorsIndex(const SafetensorsIndex& index) {
  DCP_RETURN_IF_ERROR(CheckIndex(index));
  std::string text;
  ObjectWriter document(0, &text);
  document.Key(kMetadata);
  ObjectWriter metadata(2, &text);
  if (index.save_id) {
    metadata.Key(kSaveId);
    AppendJsonString(*index.save_id, JsonEscapes::kAscii, &text);
  }
  if (index.total_parameters) {
    metadata.Key(kTotalParameters);
    text += std::to_string(*index.total_parameters);
  }
  if (index.total_size) {
    metadata.Key(kTotalSize);
    text += std::to_string(*index.total_size);
  }
  metadata.End();
  document.Key(kWeightMap);
  ObjectWriter weights(2, &text);
  for (const auto& [name, file] : index.weight_map) {
    weights.Key(name);
    AppendJsonString(file, JsonEscapes::kAscii, &text);
  }
  weights.End();
  document.End();
  return text + '\n';
}

}  // namespace dcp
