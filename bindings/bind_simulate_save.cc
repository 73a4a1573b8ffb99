#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "dcp/simulate_save.h"
#include "python_status.h"
#include "registrars.h"
#include "simulated_job.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// The value that `name` stands for; `what` is told if there is none.
template <typename Value>
StatusOr<Value> Named(const std::map<std::string, Value>& values,
                      const std::string& name, const char* what) {
  const auto found = values.find(name);
  if (found != values.end()) return found->second;
  return InvalidArgument("there is no " + std::string(what) + " " + name);
}

SaveMember ToMember(const std::string& name) {
  return ValueOrThrow(Named<SaveMember>(
      {{"rank", SaveMember::kRank}, {"node", SaveMember::kNode}}, name,
      "member of a job"));
}

SaveFailure ToFailure(const std::string& kind, int64_t number,
                      const std::variant<double, std::string>& at) {
  SaveFailure failure{.number = number};
  failure.kind = ValueOrThrow(
      Named<SaveFailureKind>({{"kill", SaveFailureKind::kKilled},
                              {"hang", SaveFailureKind::kHung},
                              {"lose-node", SaveFailureKind::kNodeLost},
                              {"stall-node", SaveFailureKind::kNodeStalls}},
                             kind, "failure"));
  if (const auto* seconds = std::get_if<double>(&at)) {
    failure.at = *seconds;
  } else {
    failure.at = ValueOrThrow(Named<SavePhase>({{"plan", SavePhase::kPlan},
                                                {"write", SavePhase::kWrite},
                                                {"meet", SavePhase::kMeet},
                                                {"commit", SavePhase::kCommit}},
                                               std::get<std::string>(at),
                                               "phase of a save"));
  }
  return failure;
}

const char* NameOf(SaveEnd end) {
  switch (end) {
    case SaveEnd::kSaved:
      return "saved";
    case SaveEnd::kFailed:
      return "failed";
    case SaveEnd::kInDoubt:
      return "in doubt";
  }
  return "";
}

void BindRates(py::module_& m) {
  py::class_<SaveRates>(m, "SaveRates", "dcp::SaveRates")
      .def_readwrite("device", &SaveRates::device)
      .def_readwrite("rank", &SaveRates::rank)
      .def_readwrite("memory", &SaveRates::memory)
      .def_readwrite("node", &SaveRates::node)
      .def_readwrite("storage", &SaveRates::storage)
      .def_readwrite("messages", &SaveRates::messages);
  py::class_<SaveCosts>(m, "SaveCosts", "dcp::SaveCosts")
      .def_readwrite("start", &SaveCosts::start)
      .def_readwrite("latency", &SaveCosts::latency)
      .def_readwrite("message", &SaveCosts::message)
      .def_readwrite("poll", &SaveCosts::poll)
      .def_readwrite("file", &SaveCosts::file)
      .def_readwrite("item", &SaveCosts::item)
      .def_readwrite("metadata_byte", &SaveCosts::metadata_byte)
      .def_readwrite("publish", &SaveCosts::publish);
  py::class_<SaveTimeouts>(m, "SaveTimeouts", "dcp::SaveTimeouts")
      .def_readwrite("heartbeat", &SaveTimeouts::heartbeat)
      .def_readwrite("look", &SaveTimeouts::look)
      .def_readwrite("stall", &SaveTimeouts::stall);
}

void BindOptions(py::module_& m) {
  using Options = SaveSimulationOptions;
  py::class_<Options>(m, "SaveSimulationOptions", "dcp::SaveSimulationOptions")
      .def(py::init<>())
      .def_readwrite("is_async", &Options::is_async)
      .def_readwrite("ranks_per_node", &Options::ranks_per_node)
      .def_readwrite("rates", &Options::rates)
      .def_readwrite("costs", &Options::costs)
      .def_readwrite("timeouts", &Options::timeouts)
      .def_readwrite("buffer_nbytes", &Options::buffer_nbytes)
      .def_readwrite("stragglers", &Options::stragglers)
      .def_readwrite("straggler_factor", &Options::straggler_factor)
      .def_readwrite("seed", &Options::seed)
      .def(
          "slow_down",
          [](Options& self, const std::string& who, int64_t number,
             double factor) {
            self.slow.push_back(
                {.who = ToMember(who), .number = number, .factor = factor});
          },
          py::arg("who"), py::arg("number"), py::arg("factor"),
          "Make a rank or a node so many times slower.")
      .def(
          "fail",
          [](Options& self, const std::string& kind, int64_t number,
             const std::variant<double, std::string>& at) {
            self.failure = ToFailure(kind, number, at);
          },
          py::arg("kind"), py::arg("number"), py::arg("at"),
          "Have a rank killed (kill) or stopped (hang), or a node lost "
          "(lose-node) or without its storage (stall-node), so many seconds "
          "after the begin or in the middle of a phase.");
}

void BindWork(py::module_& m) {
  py::class_<SaveWork>(m, "SaveWork", "dcp::SaveWork")
      .def(py::init([](std::vector<int64_t> written, std::vector<int64_t> held,
                       int64_t items, int64_t metadata_nbytes,
                       const std::pair<int64_t, int64_t>& planning) {
             SaveWork work{.written_nbytes = std::move(written),
                           .held_nbytes = std::move(held),
                           .items = items,
                           .metadata_nbytes = metadata_nbytes,
                           .planning = {.messages = planning.first,
                                        .nbytes = planning.second}};
             work.ranks_planned =
                 static_cast<int64_t>(work.written_nbytes.size());
             return work;
           }),
           py::arg("written_nbytes"), py::arg("held_nbytes"), py::arg("items"),
           py::arg("metadata_nbytes"), py::arg("planning"),
           "`planning`: messages and bytes of all ranks.")
      .def_readonly("items", &SaveWork::items)
      .def_readonly("metadata_nbytes", &SaveWork::metadata_nbytes)
      .def_readonly("planning", &SaveWork::planning)
      .def_readonly("ranks_planned", &SaveWork::ranks_planned);
}

void BindSaveResult(py::module_& m) {
  py::class_<Spread>(m, "Spread", "dcp::Spread")
      .def_readonly("least", &Spread::least)
      .def_readonly("median", &Spread::median)
      .def_readonly("p99", &Spread::p99)
      .def_readonly("most", &Spread::most)
      .def_readonly("mean", &Spread::mean);
  py::class_<SaveLoss>(m, "SaveLoss", "dcp::SaveLoss")
      .def_readonly("ranks", &SaveLoss::ranks)
      .def_readonly("seconds", &SaveLoss::seconds)
      .def_readonly("noticed", &SaveLoss::noticed)
      .def_readonly("writing", &SaveLoss::writing);
  using Result = SaveSimulation;
  py::class_<Result>(m, "SaveSimulation", "dcp::SaveSimulation")
      .def_readonly("ranks", &Result::ranks)
      .def_readonly("nodes", &Result::nodes)
      .def_readonly("nbytes", &Result::nbytes)
      .def_readonly("files", &Result::files)
      .def_readonly("rank_nbytes", &Result::rank_nbytes)
      .def_readonly("node_nbytes", &Result::node_nbytes)
      .def_property_readonly(
          "parts",
          [](const Result& self) {
            std::vector<std::pair<std::string, Spread>> parts;
            parts.reserve(self.parts.size());
            for (const SavePart& part : self.parts) {
              parts.emplace_back(part.name, part.seconds);
            }
            return parts;
          },
          "(name, seconds of ranks) each.")
      .def_readonly("seconds", &Result::seconds)
      .def_readonly("last_rank", &Result::last_rank)
      .def_readonly("even_seconds", &Result::even_seconds)
      .def_property_readonly(
          "end", [](const Result& self) { return NameOf(self.end); },
          "saved, failed or in doubt.")
      .def_readonly("loss", &Result::loss);
}

}  // namespace

void BindSimulateSave(py::module_& m) {
  BindRates(m);
  BindOptions(m);
  BindWork(m);
  BindSaveResult(m);
  m.def(
      "plan_save_work",
      [](const std::string& model, const std::map<std::string, int64_t>& mesh,
         const std::string& mode, int64_t max_items) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(PlanSaveWork(
            ValueOrThrow(ToPlanOptions(model, mesh, mode, max_items))));
      },
      py::arg("model"), py::arg("mesh"), py::arg("mode"), py::arg("max_items"),
      "What the ranks of a job that is not there have to save; arguments as of "
      "simulate_plan (dcp/simulate_save.h).");
  m.def(
      "simulate_save",
      [](const SaveWork& work, const SaveSimulationOptions& options) {
        const py::gil_scoped_release nogil;
        return ValueOrThrow(SimulateSave(work, options));
      },
      py::arg("work"), py::arg("options"),
      "Carry out a save on a virtual clock (dcp/simulate_save.h).");
}

}  // namespace dcp
