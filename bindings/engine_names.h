// Python's names of the I/O engines.

#ifndef DCP_BINDINGS_ENGINE_NAMES_H_
#define DCP_BINDINGS_ENGINE_NAMES_H_

#include <pybind11/pybind11.h>

#include <string>

#include "dcp/io_engine.h"

namespace dcp {

/// \throws ValueError  no such engine
inline IoEngineKind EngineFrom(const std::string& name) {
  if (name == "auto") return IoEngineKind::kAuto;
  if (name == "io_uring") return IoEngineKind::kUring;
  if (name == "threads") return IoEngineKind::kThreads;
  throw pybind11::value_error(
      "io_engine must be \"auto\", \"io_uring\" or \"threads\", not " + name);
}

inline std::string EngineName(IoEngineKind kind) {
  switch (kind) {
    case IoEngineKind::kAuto:
      return "auto";
    case IoEngineKind::kUring:
      return "io_uring";
    case IoEngineKind::kThreads:
      return "threads";
  }
  return "";
}

}  // namespace dcp

#endif  // DCP_BINDINGS_ENGINE_NAMES_H_
