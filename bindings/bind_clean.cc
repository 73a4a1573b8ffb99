#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "dcp/clean.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

using Leftovers = std::vector<std::pair<std::string, int64_t>>;

Leftovers Clean(const std::string& path, bool dry_run) {
  Leftovers leftovers;
  for (const Leftover& found :
       ValueOrThrow(CleanCheckpoint(path, {.dry_run = dry_run}))) {
    leftovers.emplace_back(found.name, found.nbytes);
  }
  return leftovers;
}

}  // namespace

void BindClean(py::module_& m) {
  m.def("clean", &Clean, py::arg("path"), py::arg("dry_run"),
        py::call_guard<py::gil_scoped_release>(),
        "Remove what killed saves left; [(name, bytes)].");
}

}  // namespace dcp
