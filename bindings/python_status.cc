#include "python_status.h"

#include <map>
#include <string>
#include <tuple>

namespace dcp {
namespace {

const std::map<std::string, absl::StatusCode>& CodesByName() {
  static const auto* const by_name = [] {
    auto* codes = new std::map<std::string, absl::StatusCode>;
    for (int code = 1; code <= 16; ++code) {
      const auto value = static_cast<absl::StatusCode>(code);
      codes->emplace(absl::StatusCodeToString(value), value);
    }
    return codes;
  }();
  return *by_name;
}

/// What status_fields_of of dcpcpp.errors returns.
using Fields =
    std::tuple<std::string, std::string, std::string, int, std::string>;

Status StatusFromFields(const Fields& fields) {
  const auto& [code, message, op, error_number, path] = fields;
  const auto found = CodesByName().find(code);
  Status status = MakeStatus(
      found == CodesByName().end() ? absl::StatusCode::kUnknown : found->second,
      message);
  if (op.empty() && error_number == 0) return status;
  return WithDetail(status,
                    {.op = op, .path = path, .error_number = error_number});
}

}  // namespace

Status StatusFromPython(pybind11::handle exception) {
  return StatusFromFields(pybind11::module_::import("dcpcpp.errors")
                              .attr("status_fields_of")(exception)
                              .cast<Fields>());
}

Status CheckSignals() {
  return CallPythonVoid([] {
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  });
}

}  // namespace dcp
