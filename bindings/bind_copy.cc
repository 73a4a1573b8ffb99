#include <pybind11/stl.h>

#include <string>

#include "dcp/copy.h"
#include "dcp/reshard.h"
#include "progress.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

CopyResult Copy(const std::string& source, const std::string& destination,
                const py::object& progress) {
  const CopyOptions options{.progress = Reporter<CopyProgress>(progress)};
  const py::gil_scoped_release nogil;
  return ValueOrThrow(CopyCheckpoint(source, destination, options));
}

ConvertResult Reshard(const std::string& source, const std::string& destination,
                      int ranks, const py::object& progress) {
  const ReshardRequest request{.source = source,
                               .destination = destination,
                               .ranks = ranks,
                               .progress = Reporter<ConvertProgress>(progress)};
  const py::gil_scoped_release nogil;
  return ValueOrThrow(ReshardCheckpoint(request));
}

}  // namespace

void BindCopy(py::module_& m) {
  py::class_<FileNotCopied>(m, "FileNotCopied", "dcp::FileNotCopied")
      .def_readonly("name", &FileNotCopied::name)
      .def_readonly("reason", &FileNotCopied::reason);
  py::class_<CopyResult>(m, "CopyResult", "dcp::CopyResult")
      .def_property_readonly(
          "format",
          [](const CopyResult& self) {
            return std::string(CheckpointFormatName(self.format));
          })
      .def_readonly("files", &CopyResult::files)
      .def_readonly("nbytes", &CopyResult::nbytes)
      .def_readonly("left_alone", &CopyResult::left_alone)
      .def_readonly("not_copied", &CopyResult::not_copied);
  m.def("copy_checkpoint", &Copy, py::arg("source"), py::arg("destination"),
        py::arg("progress"),
        "Copy a checkpoint (dcp/copy.h). `progress` is called with bytes done "
        "and bytes in all, or None.");
  m.def("reshard_checkpoint", &Reshard, py::arg("source"),
        py::arg("destination"), py::arg("ranks"), py::arg("progress"),
        "Write a checkpoint as another number of ranks would have saved it "
        "(dcp/reshard.h). `progress` is as for copy_checkpoint.");
}

}  // namespace dcp
