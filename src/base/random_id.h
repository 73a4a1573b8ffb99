// Random identifiers.

#ifndef DCP_BASE_RANDOM_ID_H_
#define DCP_BASE_RANDOM_ID_H_

#include <string>

namespace dcp {

/// 32 lower-case hex digits, 128 bits from the system's entropy source.
std::string MakeRandomHex();

}  // namespace dcp

#endif  // DCP_BASE_RANDOM_ID_H_
