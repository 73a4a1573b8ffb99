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

Status StatusFromFields(const std::string& code, const std::string& message,
                        const std::string& op) {
  const auto found = CodesByName().find(code);
  Status status = MakeStatus(
      found == CodesByName().end() ? absl::StatusCode::kUnknown : found->second,
      message);
  return op.empty() ? status : WithDetail(status, {.op = op});
}

}  // namespace

Status StatusFromPython(pybind11::handle exception) {
  const auto fields =
      pybind11::module_::import("dcpcpp.errors")
          .attr("status_fields_of")(exception)
          .cast<std::tuple<std::string, std::string, std::string>>();
  return StatusFromFields(std::get<0>(fields), std::get<1>(fields),
                          std::get<2>(fields));
}

Status CheckSignals() {
  return CallPythonVoid([] {
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  });
}

}  // namespace dcp
