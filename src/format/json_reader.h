// JSON as files have it that others may have written: strict, and bounded.
//
// Stricter than nlohmann/json, whose lexer it uses, and than most parsers: no
// byte order mark, no NUL, no key twice in any object, no more than
// kMaxJsonDepth containers in each other. Nothing of the text is kept but the
// keys of the objects that are open, so that the handler decides what a file
// may cost.

#ifndef DCP_FORMAT_JSON_READER_H_
#define DCP_FORMAT_JSON_READER_H_

#include <cstdint>
#include <string_view>

#include "dcp/status.h"

namespace dcp {

/// serde_json's recursion limit of 128 refuses the 128th.
inline constexpr int kMaxJsonDepth = 127;

enum class JsonKind : uint8_t {
  kNull,
  kBool,
  kUnsigned,  ///< a whole number of at most 2^64 - 1, without a sign
  kNumber,    ///< any other: with a sign, a fraction, an exponent, or larger
  kString,
  kKey,
  kBeginObject,
  kEndObject,
  kBeginArray,
  kEndArray,
};

/// A part of a JSON text.
struct JsonEvent {
  JsonKind kind = JsonKind::kNull;
  /// Objects and arrays that it lies in; those that it begins or ends do not
  /// count. The text's own value has 0, a key of it has 1.
  int depth = 0;
  /// Of kKey and kString: UTF-8, and valid during the call. Of kNumber: how it
  /// is written, for messages.
  std::string_view text = {};
  uint64_t number = 0;  ///< of kUnsigned; of kBool 0 or 1
};

class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  /// Called for each part, in order. An error ends the reading.
  virtual Status Handle(const JsonEvent& event) = 0;
};

/// Reads a text with one value. Keys are compared when their object ends: the
/// handler may see one twice, but never the end of its object.
///
/// \error kDataLoss  no JSON text, with the place; a key that is there twice
/// \error  what `handler` returned
Status ReadJson(std::string_view text, JsonHandler& handler);

}  // namespace dcp

#endif  // DCP_FORMAT_JSON_READER_H_
