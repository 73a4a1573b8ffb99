// UTF-8 validation.

#ifndef DCP_FORMAT_UTF8_H_
#define DCP_FORMAT_UTF8_H_

#include <string_view>

namespace dcp {

/// Whether `text` is well-formed UTF-8 (Unicode 15, table 3-7): no overlong
/// forms, no surrogates, nothing above U+10FFFF. ASCII takes 8 bytes a step.
bool IsValidUtf8(std::string_view text);

}  // namespace dcp

#endif  // DCP_FORMAT_UTF8_H_
