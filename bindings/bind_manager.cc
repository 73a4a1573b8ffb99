#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dcp/manager.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// What a run loads, as Python is told it.
struct LoadedStep {
  std::string path;             ///< empty: nothing is loaded
  std::optional<int64_t> step;  ///< nullopt for a checkpoint elsewhere
  bool is_hugging_face = false;
  bool is_model_only = false;
  std::vector<std::string> warnings;
};

template <typename Source>
void Describe(const Source& source, LoadedStep* loaded) {
  loaded->is_hugging_face = source.format == CheckpointFormat::kSafetensors;
  loaded->is_model_only = source.extent == StepExtent::kModelOnly;
}

LoadedStep ToLoadedStep(const LoadDecision& decision) {
  LoadedStep loaded{.warnings = decision.warnings};
  if (const auto* step = std::get_if<StepToLoad>(&decision.source)) {
    loaded.path = step->directory.path;
    loaded.step = step->directory.step;
    Describe(*step, &loaded);
  } else if (const auto* initial =
                 std::get_if<InitialCheckpoint>(&decision.source)) {
    loaded.path = initial->path;
    Describe(*initial, &loaded);
  }
  return loaded;
}

StepExtent ExtentFrom(bool is_model_only) {
  return is_model_only ? StepExtent::kModelOnly : StepExtent::kFull;
}

void BindOptions(py::module_& m) {
  py::class_<SaveRules>(m, "SaveRules", "dcp::SaveRules")
      .def_readwrite("interval", &SaveRules::interval)
      .def_readwrite("enable_first_step_checkpoint",
                     &SaveRules::enable_first_step_checkpoint)
      .def_readwrite("last_save_model_only", &SaveRules::last_save_model_only)
      .def_readwrite("load_only", &SaveRules::load_only);
  py::class_<ManagerOptions>(m, "ManagerOptions", "dcp::ManagerOptions")
      .def(py::init<>())
      .def_readwrite("folder", &ManagerOptions::folder)
      .def_readwrite("save", &ManagerOptions::save)
      .def_readwrite("keep_latest_k", &ManagerOptions::keep_latest_k)
      .def_readwrite("state_keys", &ManagerOptions::state_keys);
  py::class_<InitialCheckpoint>(m, "InitialCheckpoint",
                                "dcp::InitialCheckpoint")
      .def(py::init([](const std::string& path, bool is_hugging_face,
                       bool is_model_only, bool is_assets) {
             return InitialCheckpoint{
                 .path = path,
                 .format = is_hugging_face ? CheckpointFormat::kSafetensors
                                           : CheckpointFormat::kDcp,
                 .extent = ExtentFrom(is_model_only),
                 .origin = is_assets ? InitialOrigin::kHfAssetsPath
                                     : InitialOrigin::kInitialLoadPath};
           }),
           py::arg("path"), py::arg("is_hugging_face"),
           py::arg("is_model_only"), py::arg("is_assets"));
  m.def(
      "check_manager_options",
      [](const ManagerOptions& options) {
        ThrowIfError(CheckManagerOptions(options));
      },
      py::arg("options"), "Raise if options make no sense.");
}

void BindDecisions(py::module_& m) {
  py::class_<LoadedStep>(m, "LoadedStep", "What dcp::DecideLoad decided.")
      .def_readonly("path", &LoadedStep::path)
      .def_readonly("step", &LoadedStep::step)
      .def_readonly("is_hugging_face", &LoadedStep::is_hugging_face)
      .def_readonly("is_model_only", &LoadedStep::is_model_only)
      .def_readonly("warnings", &LoadedStep::warnings);
  py::class_<NotRemoved>(m, "NotRemoved", "dcp::NotRemoved")
      .def_readonly("path", &NotRemoved::path)
      .def_readonly("reason", &NotRemoved::reason);
  py::class_<KeptStep>(m, "KeptStep", "dcp::KeptStep")
      .def_readonly("directory", &KeptStep::directory)
      .def_property_readonly("reason", [](const KeptStep& self) {
        return std::string(KeepReasonName(self.reason));
      });
  py::class_<RetentionDecision>(m, "RetentionDecision",
                                "dcp::RetentionDecision")
      .def_readonly("removed", &RetentionDecision::removed)
      .def_readonly("kept", &RetentionDecision::kept);
  py::class_<RetentionReport>(m, "RetentionReport", "dcp::RetentionReport")
      .def_readonly("removed", &RetentionReport::removed)
      .def_readonly("not_removed", &RetentionReport::not_removed)
      .def_readonly("kept", &RetentionReport::kept);
}

/// "full", "model", or None for nothing.
std::optional<std::string> WhatToSave(const CheckpointManager& manager,
                                      int64_t step, bool is_last) {
  const auto extent =
      manager.WhatToSave(step, is_last ? StepPlace::kLast : StepPlace::kInside);
  if (!extent) return std::nullopt;
  return *extent == StepExtent::kFull ? "full" : "model";
}

LoadedStep FindLoad(const CheckpointManager& manager, int64_t load_step,
                    const std::optional<InitialCheckpoint>& initial,
                    bool require_full_resume) {
  return ToLoadedStep(ValueOrThrow(
      manager.FindLoad({.load_step = load_step,
                        .initial = initial,
                        .require_full_resume = require_full_resume})));
}

void EndSave(CheckpointManager& manager, int64_t step, bool is_saved) {
  manager.EndSave(step, is_saved ? absl::OkStatus() : Internal("not saved"));
}

}  // namespace

void BindManager(py::module_& m) {
  using NoGil = py::call_guard<py::gil_scoped_release>;
  BindOptions(m);
  BindDecisions(m);
  py::class_<CheckpointManager>(m, "CheckpointManager",
                                "dcp::CheckpointManager")
      .def(py::init([](const ManagerOptions& options) {
             return ValueOrThrow(CheckpointManager::Make(options));
           }),
           py::arg("options"))
      .def("step_path", &CheckpointManager::StepPath, py::arg("step"))
      .def("what_to_save", &WhatToSave, py::arg("step"), py::arg("is_last"),
           "\"full\", \"model\" or None.")
      .def("find_load", &FindLoad, py::arg("load_step"), py::arg("initial"),
           py::arg("require_full_resume"), NoGil())
      .def(
          "begin_save",
          [](CheckpointManager& manager, int64_t step) {
            ThrowIfError(manager.BeginSave(step));
          },
          py::arg("step"), NoGil())
      .def("end_save", &EndSave, py::arg("step"), py::arg("is_saved"), NoGil())
      .def(
          "pin",
          [](CheckpointManager& manager, int64_t step) {
            ThrowIfError(manager.Pin(step));
          },
          py::arg("step"), NoGil())
      .def(
          "unpin",
          [](CheckpointManager& manager, int64_t step) {
            ThrowIfError(manager.Unpin(step));
          },
          py::arg("step"), NoGil())
      .def(
          "plan_retention",
          [](CheckpointManager& manager) {
            return ValueOrThrow(manager.PlanRetention());
          },
          NoGil())
      .def(
          "apply_retention",
          [](CheckpointManager& manager) {
            return ValueOrThrow(manager.ApplyRetention());
          },
          NoGil());
}

}  // namespace dcp
