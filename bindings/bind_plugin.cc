#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "dcp/plugin.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {

void BindPlugin(py::module_& m) {
  py::class_<StorageRegistry>(m, "StorageRegistry",
                              "Which storage serves which URL (dcp/plugin.h).")
      .def(py::init<>())
      .def(
          "load_plugin",
          [](StorageRegistry& self, const std::string& path) {
            const py::gil_scoped_release nogil;
            return ValueOrThrow(self.LoadPlugin(path));
          },
          py::arg("path"), "Schemes that the shared library serves.")
      .def("schemes", &StorageRegistry::schemes, "All schemes, sorted.")
      .def(
          "make_writer",
          [](const StorageRegistry& self, FileSystemWriterOptions options) {
            const py::gil_scoped_release nogil;
            return ValueOrThrow(self.MakeWriter(std::move(options)));
          },
          py::arg("options"), "The writer for the URL `options.path`.")
      .def(
          "make_reader",
          [](const StorageRegistry& self, FileSystemReaderOptions options) {
            const py::gil_scoped_release nogil;
            return ValueOrThrow(self.MakeReader(std::move(options)));
          },
          py::arg("options"), "The reader for the URL `options.path`.");
}

}  // namespace dcp
