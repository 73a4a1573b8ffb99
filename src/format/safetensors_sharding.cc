#include "format/safetensors_sharding.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "base/printable.h"
#include "format/json_reader.h"
#include "format/json_writer.h"

namespace dcp {
namespace {

constexpr std::string_view kOffsetsKey = "saved_offsets";

class Handler final : public JsonHandler {
 public:
  Status Handle(const JsonEvent& event) override {
    switch (event.depth) {
      case 0:
        return Expect(event.kind == JsonKind::kBeginObject ||
                      event.kind == JsonKind::kEndObject);
      case 1:
        return HandleTensor(event);
      case 2:
        return HandleField(event);
      case 3:
        return in_offsets_ ? HandleOffset(event) : absl::OkStatus();
      default:
        return Expect(!in_offsets_);
    }
  }

  std::map<std::string, Dims> Take() && { return std::move(offsets_); }

 private:
  Status HandleTensor(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      key_ = event.text;
      return absl::OkStatus();
    }
    if (event.kind == JsonKind::kEndObject) {
      return Expect(offsets_.contains(key_));
    }
    return Expect(event.kind == JsonKind::kBeginObject);
  }

  Status HandleField(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      in_offsets_ = event.text == kOffsetsKey;
      return absl::OkStatus();
    }
    if (!in_offsets_) return absl::OkStatus();  // of a later version
    if (event.kind == JsonKind::kBeginArray) {
      offsets_[key_] = Dims();
      return absl::OkStatus();
    }
    return Expect(event.kind == JsonKind::kEndArray);
  }

  Status HandleOffset(const JsonEvent& event) {
    Dims& offsets = offsets_[key_];
    DCP_RETURN_IF_ERROR(
        Expect(event.kind == JsonKind::kUnsigned &&
               event.number <= std::numeric_limits<int64_t>::max() &&
               offsets.size() < Dims::kMaxDims));
    offsets.push_back(static_cast<int64_t>(event.number));
    return absl::OkStatus();
  }

  Status Expect(bool holds) const {
    if (holds) return absl::OkStatus();
    return DataLoss(std::string(kShardingInfoKey) + " of \"" + Printable(key_) +
                    "\" is not {\"saved_offsets\": [whole numbers]}");
  }

  std::map<std::string, Dims> offsets_;
  std::string key_;
  bool in_offsets_ = false;
};

}  // namespace

StatusOr<std::map<std::string, Dims>> ParseShardingInfo(std::string_view text) {
  Handler handler;
  const Status read = ReadJson(text, handler);
  if (!read.ok()) return Annotate(read, kShardingInfoKey);
  return std::move(handler).Take();
}

std::string SerializeShardingInfo(const std::map<std::string, Dims>& offsets) {
  std::string text = "{";
  for (const auto& [name, begin] : offsets) {
    if (text.size() > 1) text += ", ";
    AppendJsonString(name, JsonEscapes::kAscii, &text);
    text += ": {\"";
    text += kOffsetsKey;
    text += "\": " + ToString(begin) + "}";
  }
  return text + "}";
}

}  // namespace dcp
