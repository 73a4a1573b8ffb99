// Strings of JSON texts, escaped as other programs do it.

#ifndef DCP_FORMAT_JSON_WRITER_H_
#define DCP_FORMAT_JSON_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dcp {

enum class JsonEscapes : uint8_t {
  /// What must be: quotes, backslashes, and control characters below U+0020.
  /// As serde_json does.
  kMinimal,
  /// All but printable ASCII. As Python's json does by default.
  kAscii,
};

/// Appends `text`, which is valid UTF-8, with its quotes to `out`.
void AppendJsonString(std::string_view text, JsonEscapes escapes,
                      std::string* out);

}  // namespace dcp

#endif  // DCP_FORMAT_JSON_WRITER_H_
