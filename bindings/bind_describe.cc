#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/compare.h"
#include "dcp/describe.h"
#include "dcp/tensor_statistics.h"
#include "entries.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// A tensor's dtype and shape; nullopt for an object.
using Form = std::optional<std::pair<std::string, std::vector<int64_t>>>;

Form ToForm(const StoredForm& form) {
  const auto* tensor = std::get_if<TensorForm>(&form);
  if (tensor == nullptr) return std::nullopt;
  return std::pair(
      std::string(DTypeName(tensor->dtype)),
      std::vector<int64_t>(tensor->shape.begin(), tensor->shape.end()));
}

void BindParts(py::module_& m) {
  py::class_<DescribedTensor>(m, "DescribedTensor", "dcp::DescribedTensor")
      .def_readonly("fqn", &DescribedTensor::fqn)
      .def_property_readonly("dtype",
                             [](const DescribedTensor& self) {
                               return std::string(DTypeName(self.dtype));
                             })
      .def_property_readonly(
          "shape",
          [](const DescribedTensor& self) { return ToTuple(self.shape); })
      .def_readonly("nbytes", &DescribedTensor::nbytes)
      .def_readonly("chunks", &DescribedTensor::chunks)
      .def_readonly("files", &DescribedTensor::files);
  py::class_<DescribedObject>(m, "DescribedObject", "dcp::DescribedObject")
      .def_readonly("fqn", &DescribedObject::fqn)
      .def_readonly("nbytes", &DescribedObject::nbytes)
      .def_readonly("files", &DescribedObject::files);
  py::class_<DescribedFile>(m, "DescribedFile", "dcp::DescribedFile")
      .def_readonly("name", &DescribedFile::name)
      .def_readonly("nbytes", &DescribedFile::nbytes);
  py::class_<TensorTotal>(m, "TensorTotal", "dcp::TensorTotal")
      .def_readonly("name", &TensorTotal::name)
      .def_readonly("tensors", &TensorTotal::tensors)
      .def_readonly("elements", &TensorTotal::elements)
      .def_readonly("nbytes", &TensorTotal::nbytes);
}

void BindDescription(py::module_& m) {
  BindParts(m);
  py::class_<CheckpointDescription>(m, "CheckpointDescription",
                                    "dcp::CheckpointDescription")
      .def_property_readonly(
          "format",
          [](const CheckpointDescription& self) {
            return std::string(CheckpointFormatName(self.format));
          })
      .def_readonly("save_id", &CheckpointDescription::save_id)
      .def_readonly("is_ours", &CheckpointDescription::is_ours)
      .def_readonly("step", &CheckpointDescription::step)
      .def_readonly("ranks", &CheckpointDescription::ranks)
      .def_readonly("tensors", &CheckpointDescription::tensors)
      .def_readonly("objects", &CheckpointDescription::objects)
      .def_readonly("files", &CheckpointDescription::files)
      .def_readonly("elements", &CheckpointDescription::elements)
      .def_readonly("nbytes", &CheckpointDescription::nbytes)
      .def_readonly("by_dtype", &CheckpointDescription::by_dtype)
      .def_readonly("by_module", &CheckpointDescription::by_module)
      .def_readonly("tensor_count", &CheckpointDescription::tensor_count)
      .def_readonly("object_count", &CheckpointDescription::object_count);
  m.def(
      "describe",
      [](const std::string& path, bool items) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(Describe(
            path,
            {.depth = items ? DescribeDepth::kItems : DescribeDepth::kTotals}));
      },
      py::arg("path"), py::arg("items") = true,
      "What a checkpoint holds (dcp/describe.h).");
}

void BindComparison(py::module_& m) {
  py::class_<FormDifference>(m, "FormDifference", "dcp::FormDifference")
      .def_readonly("fqn", &FormDifference::fqn)
      .def_property_readonly(
          "a", [](const FormDifference& self) { return ToForm(self.a); })
      .def_property_readonly(
          "b", [](const FormDifference& self) { return ToForm(self.b); });
  py::class_<ValueDifference>(m, "ValueDifference", "dcp::ValueDifference")
      .def_readonly("fqn", &ValueDifference::fqn)
      .def_readonly("elements", &ValueDifference::elements)
      .def_readonly("max_distance", &ValueDifference::max_distance);
  py::class_<CheckpointDifference>(m, "CheckpointDifference",
                                   "dcp::CheckpointDifference")
      .def_readonly("only_in_a", &CheckpointDifference::only_in_a)
      .def_readonly("only_in_b", &CheckpointDifference::only_in_b)
      .def_readonly("forms", &CheckpointDifference::forms)
      .def_readonly("values", &CheckpointDifference::values)
      .def_readonly("keys_in_common", &CheckpointDifference::keys_in_common)
      .def_readonly("nbytes_compared", &CheckpointDifference::nbytes_compared)
      .def_property_readonly("empty", &CheckpointDifference::empty);
  m.def(
      "compare",
      [](const std::string& a, const std::string& b, bool values) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(Compare(
            a, b,
            {.depth = values ? CompareDepth::kValues : CompareDepth::kForms}));
      },
      py::arg("a"), py::arg("b"), py::arg("values"),
      "What two checkpoints do not have in common (dcp/compare.h).");
}

void BindStatistics(py::module_& m) {
  py::class_<TensorStatistics>(m, "TensorStatistics", "dcp::TensorStatistics")
      .def_property_readonly("dtype",
                             [](const TensorStatistics& self) {
                               return std::string(DTypeName(self.dtype));
                             })
      .def_property_readonly(
          "shape",
          [](const TensorStatistics& self) { return ToTuple(self.shape); })
      .def_readonly("elements", &TensorStatistics::elements)
      .def_readonly("nans", &TensorStatistics::nans)
      .def_readonly("positive_infinities",
                    &TensorStatistics::positive_infinities)
      .def_readonly("negative_infinities",
                    &TensorStatistics::negative_infinities)
      .def_readonly("zeros", &TensorStatistics::zeros)
      .def_readonly("min", &TensorStatistics::min)
      .def_readonly("max", &TensorStatistics::max)
      .def_readonly("mean", &TensorStatistics::mean)
      .def_readonly("standard_deviation",
                    &TensorStatistics::standard_deviation);
  m.def(
      "compute_statistics",
      [](const std::string& path, const std::string& key) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(ComputeStatistics(path, key));
      },
      py::arg("path"), py::arg("key"),
      "The numbers in a tensor (dcp/tensor_statistics.h).");
  py::class_<TensorHistogram>(m, "TensorHistogram", "dcp::TensorHistogram")
      .def_readonly("statistics", &TensorHistogram::statistics)
      .def_readonly("counts", &TensorHistogram::counts);
  m.def(
      "compute_histogram",
      [](const std::string& path, const std::string& key, int64_t bins) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(ComputeHistogram(path, key, {.bins = bins}));
      },
      py::arg("path"), py::arg("key"), py::arg("bins"),
      "How the numbers in a tensor are spread (dcp/tensor_statistics.h).");
}

}  // namespace

void BindDescribe(py::module_& m) {
  BindDescription(m);
  BindComparison(m);
  BindStatistics(m);
}

}  // namespace dcp
