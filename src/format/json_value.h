// JsonValue: a small JSON text as a tree, for files that configure something.

#ifndef DCP_FORMAT_JSON_VALUE_H_
#define DCP_FORMAT_JSON_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/status.h"

namespace dcp {

struct JsonMember;

/// Of a text for ParseJson: a tree takes about 40 times as much memory.
inline constexpr size_t kMaxJsonValueNbytes = size_t{4} << 20;

/// Value type.
struct JsonValue {
  using Array = std::vector<JsonValue>;
  /// In the order of the text; no key is there twice.
  using Object = std::vector<JsonMember>;
  /// std::monostate is null. A number is an int64_t if it is a whole one, is
  /// written as such and fits, else a double.
  std::variant<std::monostate, bool, int64_t, double, std::string, Array,
               Object>
      value;

  /// Null if it is something else.
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&value);
  }
  /// The member `key` of an object; null if there is none.
  const JsonValue* Find(std::string_view key) const;
};

/// Of an object.
struct JsonMember {
  std::string key;
  JsonValue value;
};

/// Reads `text` as ReadJson does.
/// \error kDataLoss  no JSON text, or one of more than kMaxJsonValueNbytes
StatusOr<JsonValue> ParseJson(std::string_view text);

}  // namespace dcp

#endif  // DCP_FORMAT_JSON_VALUE_H_
