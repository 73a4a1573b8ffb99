// Status on its way to a Python exception and back.

#ifndef DCP_BINDINGS_PYTHON_STATUS_H_
#define DCP_BINDINGS_PYTHON_STATUS_H_

#include <pybind11/pybind11.h>

#include <exception>
#include <utility>

#include "dcp/status.h"

namespace dcp {

/// Carries a status out of a bound function; becomes the Python exception that
/// dcpcpp.errors.exception_from_status makes of it.
class StatusException : public std::exception {
 public:
  explicit StatusException(Status status) : status_(std::move(status)) {}
  const Status& status() const { return status_; }
  const char* what() const noexcept override { return "dcp::Status"; }

 private:
  Status status_;
};

inline void ThrowIfError(const Status& status) {
  if (!status.ok()) throw StatusException(status);
}

template <typename T>
T ValueOrThrow(StatusOr<T> result) {
  ThrowIfError(result.status());
  return *std::move(result);
}

/// The status that stands for a Python exception (GIL held).
Status StatusFromPython(pybind11::handle exception);

/// Runs `call` with the GIL held; its Python exceptions become a status.
template <typename Call>
auto CallPython(Call&& call) -> StatusOr<decltype(call())> {
  pybind11::gil_scoped_acquire gil;
  try {
    return call();
  } catch (const pybind11::error_already_set& error) {
    return StatusFromPython(error.value());
  } catch (const pybind11::builtin_exception& error) {  // casts, ValueError
    return InvalidArgument(error.what());
  }
}

/// As CallPython, for calls without a result.
template <typename Call>
Status CallPythonVoid(Call&& call) {
  return CallPython([&] {
           call();
           return true;
         })
      .status();
}

/// Runs Python's signal handlers, if this is their thread: what they raise
/// (KeyboardInterrupt) becomes a status. The caller may ignore it: it is raised
/// when the call of libdcp ends.
Status CheckSignals();

}  // namespace dcp

#endif  // DCP_BINDINGS_PYTHON_STATUS_H_
