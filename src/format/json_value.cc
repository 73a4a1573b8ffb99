#include "format/json_value.h"

#include <charconv>
#include <limits>
#include <utility>

#include "format/json_reader.h"

namespace dcp {
namespace {

JsonValue Number(std::string_view text) {
  const char* const end = text.data() + text.size();
  int64_t whole = 0;
  const auto read = std::from_chars(text.data(), end, whole);
  if (read.ec == std::errc() && read.ptr == end) return {.value = whole};
  double number = 0;
  std::from_chars(text.data(), end, number);
  return {.value = number};
}

class TreeBuilder final : public JsonHandler {
 public:
  Status Handle(const JsonEvent& event) override {
    switch (event.kind) {
      case JsonKind::kKey:
        open_.back().key = event.text;
        break;
      case JsonKind::kBeginObject:
        open_.push_back({.value = {.value = JsonValue::Object()}});
        break;
      case JsonKind::kBeginArray:
        open_.push_back({.value = {.value = JsonValue::Array()}});
        break;
      case JsonKind::kEndObject:
      case JsonKind::kEndArray: {
        JsonValue ended = std::move(open_.back().value);
        open_.pop_back();
        Add(std::move(ended));
        break;
      }
      default:
        Add(Plain(event));
    }
    return absl::OkStatus();
  }

  JsonValue Take() { return std::move(whole_); }

 private:
  /// A container that has not ended, and the key of its next member.
  struct Open {
    JsonValue value;
    std::string key;
  };

  static JsonValue Plain(const JsonEvent& event) {
    switch (event.kind) {
      case JsonKind::kBool:
        return {.value = event.number != 0};
      case JsonKind::kUnsigned:
        if (event.number <= std::numeric_limits<int64_t>::max()) {
          return {.value = static_cast<int64_t>(event.number)};
        }
        return {.value = static_cast<double>(event.number)};
      case JsonKind::kNumber:
        return Number(event.text);
      case JsonKind::kString:
        return {.value = std::string(event.text)};
      default:
        return {};
    }
  }

  void Add(JsonValue value) {
    if (open_.empty()) {
      whole_ = std::move(value);
      return;
    }
    Open& parent = open_.back();
    if (auto* array = std::get_if<JsonValue::Array>(&parent.value.value)) {
      array->push_back(std::move(value));
    } else {
      std::get<JsonValue::Object>(parent.value.value)
          .push_back({.key = std::move(parent.key), .value = std::move(value)});
    }
  }

  JsonValue whole_;
  std::vector<Open> open_;
};

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  const Object* const members = As<Object>();
  if (members == nullptr) return nullptr;
  for (const auto& [name, member] : *members) {
    if (name == key) return &member;
  }
  return nullptr;
}

StatusOr<JsonValue> ParseJson(std::string_view text) {
  if (text.size() > kMaxJsonValueNbytes) {
    return DataLoss("it has " + std::to_string(text.size()) +
                    " bytes, more than the limit of " +
                    std::to_string(kMaxJsonValueNbytes));
  }
  TreeBuilder builder;
  DCP_RETURN_IF_ERROR(ReadJson(text, builder));
  return builder.Take();
}

}  // namespace dcp
