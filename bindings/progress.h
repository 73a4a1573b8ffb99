// Progress: calls of libdcp that tell how far they are, as calls of Python.

#ifndef DCP_BINDINGS_PROGRESS_H_
#define DCP_BINDINGS_PROGRESS_H_

#include <pybind11/pybind11.h>

#include <functional>

#include "dcp/status.h"
#include "python_status.h"

namespace dcp {

/// Has `progress`, which may be None, told of bytes done and bytes in all; it
/// may raise. `progress` outlives the function: it is the caller's argument.
template <typename Progress>
std::function<Status(const Progress&)> Reporter(
    const pybind11::object& progress) {
  if (progress.is_none()) return {};
  return [callable = pybind11::handle(progress)](const Progress& now) {
    return CallPythonVoid([&] { callable(now.nbytes_done, now.nbytes_total); });
  };
}

}  // namespace dcp

#endif  // DCP_BINDINGS_PROGRESS_H_
