// Text of unknown origin in messages.

#ifndef DCP_BASE_PRINTABLE_H_
#define DCP_BASE_PRINTABLE_H_

#include <string>
#include <string_view>

namespace dcp {

/// `text`, cut after 200 bytes, with everything but printable ASCII as \xNN: it
/// goes to terminals, logs and Python strings.
std::string Printable(std::string_view text);

}  // namespace dcp

#endif  // DCP_BASE_PRINTABLE_H_
