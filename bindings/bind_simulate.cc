#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dcp/simulate.h"
#include "python_status.h"
#include "registrars.h"
#include "simulated_job.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// (name, seconds) each.
std::vector<std::pair<std::string, double>> ToPairs(
    const std::vector<PlanStep>& steps) {
  std::vector<std::pair<std::string, double>> pairs;
  pairs.reserve(steps.size());
  for (const PlanStep& step : steps)
    pairs.emplace_back(step.name, step.seconds);
  return pairs;
}

void BindResult(py::module_& m) {
  py::class_<PlanTraffic>(m, "PlanTraffic", "dcp::PlanTraffic")
      .def_readonly("messages", &PlanTraffic::messages)
      .def_readonly("nbytes", &PlanTraffic::nbytes);
  py::class_<PlanOutcome>(m, "PlanOutcome", "dcp::PlanOutcome")
      .def_readonly("items", &PlanOutcome::items)
      .def_readonly("metadata_nbytes", &PlanOutcome::metadata_nbytes)
      .def_readonly("metadata_ranks", &PlanOutcome::metadata_ranks)
      .def_readonly("mean_load_nbytes", &PlanOutcome::mean_load_nbytes)
      .def_readonly("max_load_nbytes", &PlanOutcome::max_load_nbytes);
  py::class_<PlanSimulation>(m, "PlanSimulation", "dcp::PlanSimulation")
      .def_readonly("ranks", &PlanSimulation::ranks)
      .def_readonly("tensors", &PlanSimulation::tensors)
      .def_readonly("elements", &PlanSimulation::elements)
      .def_readonly("nbytes", &PlanSimulation::nbytes)
      .def_readonly("specs", &PlanSimulation::specs)
      .def_readonly("items", &PlanSimulation::items)
      .def_readonly("ranks_planned", &PlanSimulation::ranks_planned)
      .def_property_readonly(
          "rank_steps",
          [](const PlanSimulation& self) { return ToPairs(self.rank_steps); },
          "(name, seconds) each.")
      .def_property_readonly(
          "coordinator_steps",
          [](const PlanSimulation& self) {
            return ToPairs(self.coordinator_steps);
          },
          "(name, seconds) each.")
      .def_readonly("first_save", &PlanSimulation::first_save)
      .def_readonly("unchanged_save", &PlanSimulation::unchanged_save)
      .def_readonly("outcome", &PlanSimulation::outcome);
}

}  // namespace

void BindSimulate(py::module_& m) {
  BindResult(m);
  m.def(
      "simulated_models",
      [] {
        std::vector<std::string> names;
        for (const std::string_view name : SimulatedModels()) {
          names.emplace_back(name);
        }
        return names;
      },
      "Models that simulate_plan knows (dcp/simulate.h).");
  m.def(
      "simulated_tensors",
      [](const std::string& model) {
        std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
        for (const SimulatedTensor& tensor :
             ValueOrThrow(SimulatedTensors(model))) {
          tensors.emplace_back(
              tensor.fqn,
              std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end()));
        }
        return tensors;
      },
      py::arg("model"), "(name, shape) of each tensor of a model.");
  m.def(
      "simulate_plan",
      [](const std::string& model, const std::map<std::string, int64_t>& mesh,
         const std::string& mode, int64_t max_items) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(SimulatePlan(
            ValueOrThrow(ToPlanOptions(model, mesh, mode, max_items))));
      },
      py::arg("model"), py::arg("mesh"), py::arg("mode"), py::arg("max_items"),
      "Plan the save of a job that is not there (dcp/simulate.h). `mesh`: "
      "degrees by name. `mode`: closed-form or gather.");
}

}  // namespace dcp
