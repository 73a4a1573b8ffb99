#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dcp/latest.h"
#include "dcp/verify.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

using MaybeFileSystem = std::optional<std::shared_ptr<FileSystem>>;

StorageEnvironment Environment(const MaybeFileSystem& file_system) {
  return {.file_system = file_system.value_or(nullptr)};
}

void BindLatest(py::module_& m) {
  py::class_<StepDirectory>(m, "StepDirectory", "dcp::StepDirectory")
      .def_readonly("step", &StepDirectory::step)
      .def_readonly("path", &StepDirectory::path);
  py::class_<SkippedStep>(m, "SkippedStep", "dcp::SkippedStep")
      .def_readonly("directory", &SkippedStep::directory)
      .def_readonly("reason", &SkippedStep::reason);
  py::class_<LatestStep>(m, "LatestStep", "dcp::LatestStep")
      .def_readonly("found", &LatestStep::found)
      .def_readonly("skipped", &LatestStep::skipped);
  m.def(
      "find_latest",
      [](const std::string& root, bool verify, const IoOptions& io) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(FindLatest(
            root,
            {.check = verify ? StepCheck::kVerified : StepCheck::kCommitted,
             .io = io}));
      },
      py::arg("root"), py::arg("verify"), py::arg("io"),
      "Find the newest step of a run (dcp/latest.h).");
}

}  // namespace

void BindVerify(py::module_& m) {
  py::class_<Damage>(m, "Damage", "dcp::Damage")
      .def_readonly("fqn", &Damage::fqn)
      .def_readonly("path", &Damage::path)
      .def_readonly("byte_offset", &Damage::byte_offset)
      .def_readonly("nbytes", &Damage::nbytes)
      .def_readonly("message", &Damage::message);
  py::class_<VerifyReport>(m, "VerifyReport", "dcp::VerifyReport")
      .def_property_readonly(
          "format",
          [](const VerifyReport& self) {
            return std::string(CheckpointFormatName(self.format));
          })
      .def_readonly("save_id", &VerifyReport::save_id)
      .def_readonly("is_ours", &VerifyReport::is_ours)
      .def_readonly("files", &VerifyReport::files)
      .def_readonly("tensors", &VerifyReport::tensors)
      .def_readonly("objects", &VerifyReport::objects)
      .def_readonly("nbytes", &VerifyReport::nbytes)
      .def_readonly("damages", &VerifyReport::damages);
  m.def(
      "verify",
      [](const std::string& path, const IoOptions& io,
         const MaybeFileSystem& file_system) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(Verify(path, {.io = io}, Environment(file_system)));
      },
      py::arg("path"), py::arg("io"), py::arg("file_system") = py::none(),
      "Check a whole checkpoint (dcp/verify.h).");
  BindLatest(m);
}

}  // namespace dcp
