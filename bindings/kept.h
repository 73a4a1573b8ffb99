// Python objects that C++ holds.

#ifndef DCP_BINDINGS_KEPT_H_
#define DCP_BINDINGS_KEPT_H_

#include <pybind11/pybind11.h>

#include <utility>

namespace dcp {

inline bool IsFinalizing() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

/// Owns Python objects for threads that do not have the GIL.
class Kept {
 public:
  explicit Kept(pybind11::object objects) : objects_(std::move(objects)) {}
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  // Taking the GIL throws only while the interpreter ends.
  // NOLINTNEXTLINE(bugprone-exception-escape)
  ~Kept() {
    // A thread that asks for the GIL then does not come back.
    if (Py_IsInitialized() == 0 || IsFinalizing()) {
      objects_.release();
      return;
    }
    const pybind11::gil_scoped_acquire gil;
    objects_ = pybind11::object();
  }

 private:
  pybind11::object objects_;
};

}  // namespace dcp

#endif  // DCP_BINDINGS_KEPT_H_
