// What to call this process in messages to people on other machines.

#ifndef DCP_BASE_PROCESS_NAME_H_
#define DCP_BASE_PROCESS_NAME_H_

#include <string>

namespace dcp {

/// "process 4711 on host node17".
std::string ProcessName();

}  // namespace dcp

#endif  // DCP_BASE_PROCESS_NAME_H_
