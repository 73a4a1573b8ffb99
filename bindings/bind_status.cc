#include <pybind11/stl.h>

#include <utility>
#include <vector>

#include "dcp/status.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

ErrorDetail DetailOf(const Status& status) {
  return GetErrorDetail(status).value_or(ErrorDetail{});
}

std::vector<std::pair<int, Status>> FailuresOf(const Status& status) {
  std::vector<std::pair<int, Status>> failures;
  if (const auto found = GetRankFailures(status)) {
    failures.assign(found->by_rank.begin(), found->by_rank.end());
  }
  return failures;
}

std::string PhaseOf(const Status& status) {
  const auto found = GetRankFailures(status);
  return found ? found->phase : "";
}

}  // namespace

void BindStatus(py::module_& m) {
  py::class_<Status>(m, "Status", "What went wrong in libdcp.")
      .def_property_readonly(
          "code",
          [](const Status& s) { return absl::StatusCodeToString(s.code()); })
      .def_property_readonly(
          "message", [](const Status& s) { return std::string(Message(s)); })
      .def_property_readonly("op",
                             [](const Status& s) { return DetailOf(s).op; })
      .def_property_readonly("path",
                             [](const Status& s) { return DetailOf(s).path; })
      .def_property_readonly(
          "byte_offset",
          [](const Status& s) { return DetailOf(s).byte_offset; })
      .def_property_readonly("nbytes",
                             [](const Status& s) { return DetailOf(s).nbytes; })
      .def_property_readonly(
          "errno", [](const Status& s) { return DetailOf(s).error_number; })
      .def_property_readonly("key",
                             [](const Status& s) { return DetailOf(s).fqn; })
      .def_property_readonly("phase", &PhaseOf,
                             "Phase of a save or load in which ranks failed.")
      .def_property_readonly("failures", &FailuresOf,
                             "(rank, status) of each failed rank.");

  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11's signature
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const StatusException& error) {
      const py::object exception =
          py::module_::import("dcpcpp.errors")
              .attr("exception_from_status")(error.status());
      PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
    }
  });
}

}  // namespace dcp
