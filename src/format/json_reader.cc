#include "format/json_reader.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/printable.h"
#include "format/utf8.h"

namespace dcp {
namespace {

using nlohmann::json;

/// A text as nlohmann's lexer (3.11) is given it. The lexer takes a NUL for the
/// end, and spells the control characters since the last token out, at 8 bytes
/// each, when it reports an error: it gets other characters that mean the same
/// outside of strings, where they are white space or nothing.
class TextIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit TextIterator(const char* at) : at_(at) {}

  char operator*() const {
    if (*at_ == '\0') return '\1';  // valid nowhere
    const bool is_space = *at_ == '\n' || *at_ == '\t' || *at_ == '\r';
    return is_space && !in_string_ ? ' ' : *at_;
  }
  TextIterator& operator++() {
    if (is_escaped_) {
      is_escaped_ = false;
    } else if (*at_ == '"') {
      in_string_ = !in_string_;
    } else if (*at_ == '\\') {
      is_escaped_ = in_string_;
    }
    ++at_;
    return *this;
  }
  bool operator==(const TextIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  bool in_string_ = false;
  bool is_escaped_ = false;
};

/// The keys of the objects that are open, in one piece of memory.
class OpenKeys {
 public:
  void Open() { objects_.push_back({.first = starts_.size()}); }

  void Add(std::string_view key) {
    Object& object = objects_.back();
    if (starts_.size() > object.first) {
      object.is_sorted = object.is_sorted && Key(starts_.size() - 1) < key;
    }
    starts_.push_back(bytes_.size());
    bytes_ += key;
  }

  /// Ends the object that was opened last.
  Status Close() {
    const Object object = objects_.back();
    objects_.pop_back();
    if (starts_.size() == object.first) return absl::OkStatus();
    if (!object.is_sorted) {
      DCP_RETURN_IF_ERROR(CheckKeysFrom(object.first));
    }
    bytes_.resize(starts_[object.first]);
    starts_.resize(object.first);
    return absl::OkStatus();
  }

 private:
  struct Object {
    size_t first = 0;  ///< where its keys begin in starts_
    bool is_sorted = true;
  };

  std::string_view Key(size_t index) const {
    const size_t end =
        index + 1 < starts_.size() ? starts_[index + 1] : bytes_.size();
    return std::string_view(bytes_).substr(starts_[index],
                                           end - starts_[index]);
  }

  Status CheckKeysFrom(size_t first) const {
    std::vector<std::string_view> keys;
    keys.reserve(starts_.size() - first);
    for (size_t i = first; i < starts_.size(); ++i) keys.push_back(Key(i));
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return absl::OkStatus();
    return DataLoss("the key \"" + Printable(*twice) +
                    "\" is there twice in one object");
  }

  std::string bytes_;           // the keys of all open objects
  std::vector<size_t> starts_;  // where each key begins
  std::vector<Object> objects_;
};

/// nlohmann's events as ours. Its methods return whether to go on.
class SaxAdapter {
 public:
  explicit SaxAdapter(JsonHandler& handler) : handler_(handler) {}

  const Status& status() const { return status_; }

  bool null() { return Send({.kind = JsonKind::kNull}); }
  bool boolean(bool value) {
    return Send({.kind = JsonKind::kBool, .number = value ? 1U : 0U});
  }
  /// One with a sign.
  bool number_integer(json::number_integer_t value) {
    const std::string text = value == 0 ? "-0" : std::to_string(value);
    return Send({.kind = JsonKind::kNumber, .text = text});
  }
  bool number_unsigned(json::number_unsigned_t value) {
    return Send({.kind = JsonKind::kUnsigned, .number = value});
  }
  bool number_float(json::number_float_t, const json::string_t& text) {
    return Send({.kind = JsonKind::kNumber, .text = text});
  }
  bool string(const json::string_t& text) {
    return Send({.kind = JsonKind::kString, .text = text});
  }
  bool binary(const json::binary_t&) { return false; }  // JSON has none
  bool key(const json::string_t& text) {
    keys_.Add(text);
    return Send({.kind = JsonKind::kKey, .text = text});
  }
  bool start_object(size_t) {
    keys_.Open();
    return Begin(JsonKind::kBeginObject);
  }
  bool end_object() {
    status_ = keys_.Close();
    return status_.ok() && End(JsonKind::kEndObject);
  }
  bool start_array(size_t) { return Begin(JsonKind::kBeginArray); }
  bool end_array() { return End(JsonKind::kEndArray); }

  bool parse_error(size_t position, const std::string&,
                   const json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2:
    // syntax error while parsing ..."
    std::string_view why = error.what();
    why.remove_prefix(std::min(why.find("] ") + 2, why.size()));
    const size_t syntax = why.find("syntax error ");
    if (syntax != why.npos) why.remove_prefix(syntax);
    status_ = DataLoss("not JSON at byte " + std::to_string(position) + ": " +
                       Printable(why));
    return false;
  }

 private:
  bool Send(JsonEvent event) {
    event.depth = depth_;
    status_ = handler_.Handle(event);
    return status_.ok();
  }
  bool Begin(JsonKind kind) {
    if (depth_ == kMaxJsonDepth) {
      status_ = DataLoss("more than " + std::to_string(kMaxJsonDepth) +
                         " objects and arrays in each other");
      return false;
    }
    const bool goes_on = Send({.kind = kind});
    ++depth_;
    return goes_on;
  }
  bool End(JsonKind kind) {
    --depth_;
    return Send({.kind = kind});
  }

  JsonHandler& handler_;
  OpenKeys keys_;
  int depth_ = 0;
  Status status_;
};

}  // namespace

Status ReadJson(std::string_view text, JsonHandler& handler) {
  if (!IsValidUtf8(text)) return DataLoss("not JSON: it is not UTF-8");
  if (text.starts_with("\xef\xbb\xbf")) {
    return DataLoss("not JSON: it begins with a byte order mark");
  }
  SaxAdapter adapter(handler);
  const bool is_read = json::sax_parse(
      TextIterator(text.data()), TextIterator(text.data() + text.size()),
      &adapter, json::input_format_t::json, /*strict=*/true);
  if (!is_read && adapter.status().ok()) return Internal("JSON was not read");
  return adapter.status();
}

}  // namespace dcp
