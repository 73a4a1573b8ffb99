#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dcp/saver.h"
#include "dcp/staging.h"
#include "entries.h"
#include "kept.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

constexpr char kStagedStateDoc[] =
    "A copy of what a rank saves (dcp/staging.h), started at once and made in "
    "the background; `save` takes it in place of SaveEntries.\n\nTakes the "
    "content of `entries` over. `keep_alive` is let go when nothing reads the "
    "tensors any more; `limit` bounds the memory of all staged states of "
    "the process. `saver` saves it, if it is one, in the place of `save`'s "
    "threads. `copies_first` has writing wait for the copies.";
constexpr char kWaitStagedDoc[] =
    "Wait until the tensors may change, at most `timeout` seconds; False if "
    "that is over.";
constexpr char kPrewarmDoc[] =
    "Take memory for a state of `nbytes` ahead, as far as `limit` allows; "
    "pinned for the CUDA device of that number, if it is not negative.";

CopyMethod CopyMethodFrom(const std::string& name) {
  if (name == "batched") return CopyMethod::kBatched;
  if (name == "packed") return CopyMethod::kPacked;
  throw py::value_error("copy_method is \"batched\" or \"packed\", not \"" +
                        name + "\"");
}

/// How devices copy.
struct DeviceCopying {
  bool pins_memory = true;
  int64_t max_rate = 0;
  CopyMethod method = CopyMethod::kBatched;
};

/// How much host memory copies may take.
struct StagingLimit {
  std::optional<int64_t> max_nbytes;
  double memory_share = 1.0;
};

using MaybeSaver = std::optional<std::shared_ptr<Saver>>;

std::shared_ptr<StagedState> BeginStaging(
    SaveEntries& entries, const py::object& keep_alive,
    const StagingLimit& limit, int threads, std::shared_ptr<Trace> trace,
    const MaybeSaver& saver, const DeviceCopying& copying, bool copies_first) {
  auto kept = std::make_shared<Kept>(py::make_tuple(keep_alive, entries.kept));
  auto taken = std::exchange(entries.entries, {});
  const py::gil_scoped_release nogil;
  return ValueOrThrow(StagedState::Begin(std::move(taken), std::move(kept),
                                         {.max_nbytes = limit.max_nbytes,
                                          .memory_share = limit.memory_share,
                                          .threads = threads,
                                          .trace = std::move(trace),
                                          .saver = saver.value_or(nullptr),
                                          .pins_memory = copying.pins_memory,
                                          .max_copy_rate = copying.max_rate,
                                          .copy_method = copying.method,
                                          .copies_first = copies_first}));
}

/// Whether it is known after `timeout` seconds if a saver has the state.
bool WaitHandedOver(StagedState& state, double timeout) {
  const py::gil_scoped_release nogil;
  const Status handed_over =
      state.WaitHandedOver(std::chrono::duration_cast<Clock::Duration>(
          std::chrono::duration<double>(timeout)));
  return handed_over.code() != absl::StatusCode::kDeadlineExceeded;
}

std::string SharingError(StagedState& state) {
  const py::gil_scoped_release nogil;
  const Status handed_over = state.WaitHandedOver(Clock::Duration(0));
  if (handed_over.code() != absl::StatusCode::kResourceExhausted) return "";
  return std::string(Message(handed_over));
}

/// Waits in slices, between which signal handlers run.
bool WaitStaged(StagedState& state, std::optional<double> timeout) {
  using Seconds = std::chrono::duration<double>;
  constexpr Seconds kSlice(0.05);
  const auto begin = std::chrono::steady_clock::now();
  while (true) {
    const Seconds waited = std::chrono::steady_clock::now() - begin;
    const Seconds slice = std::clamp(
        timeout ? Seconds(*timeout) - waited : kSlice, Seconds::zero(), kSlice);
    const Status staged = [&] {
      const py::gil_scoped_release nogil;
      return state.WaitStaged(
          std::chrono::duration_cast<Clock::Duration>(slice));
    }();
    if (staged.code() != absl::StatusCode::kDeadlineExceeded) {
      ThrowIfError(staged);
      return true;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (timeout && waited >= Seconds(*timeout)) return false;
  }
}

void BindSaver(py::module_& m) {
  py::class_<Saver, std::shared_ptr<Saver>>(
      m, "Saver", "The process that saves beside this one (dcp/saver.h).",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init([](std::string program, double patience) {
             return ValueOrThrow(Saver::Make(
                 {.program = std::move(program),
                  .patience = std::chrono::duration_cast<Clock::Duration>(
                      std::chrono::duration<double>(patience))}));
           }),
           py::arg("program"), py::arg("patience"))
      .def(
          "start",
          [](Saver& self) {
            const py::gil_scoped_release nogil;
            ThrowIfError(self.Start());
          },
          "Start it now, rather than in the first save.")
      .def_property_readonly("process_id", &Saver::process_id,
                             "Its number, None if it does not run.")
      .def_property_readonly(
          "memory_nbytes",
          [](const Saver& self) {
            const py::gil_scoped_release nogil;
            return self.memory_nbytes();
          },
          "Shared memory, used or not.")
      .def("release_memory", &Saver::ReleaseMemory,
           py::call_guard<py::gil_scoped_release>(),
           "Give the memory that no staged state uses back to the system.");
}

}  // namespace

void BindStaging(py::module_& m) {
  BindSaver(m);
  py::class_<SaveEntries>(m, "SaveEntries",
                          "What a save is given; see dcpcpp._tensors.")
      .def(py::init<const py::iterable&>(), py::arg("tuples"));
  py::class_<DeviceCopying>(m, "DeviceCopying",
                            "How devices copy: see dcpcpp.DefaultStager.")
      .def(py::init([](bool pins_memory, int64_t max_rate,
                       const std::string& method) {
             return DeviceCopying{.pins_memory = pins_memory,
                                  .max_rate = max_rate,
                                  .method = CopyMethodFrom(method)};
           }),
           py::arg("pins_memory"), py::arg("max_rate"), py::arg("method"));
  py::class_<StagingLimit>(m, "StagingLimit",
                           "Host memory for copies; see dcp::StagingOptions.")
      .def(py::init([](std::optional<int64_t> max_nbytes, double share) {
             return StagingLimit{.max_nbytes = max_nbytes,
                                 .memory_share = share};
           }),
           py::arg("max_nbytes"), py::arg("memory_share"));
  py::class_<StagedState, std::shared_ptr<StagedState>>(
      m, "StagedState", kStagedStateDoc,
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&BeginStaging), py::arg("entries"), py::arg("keep_alive"),
           py::arg("limit"), py::arg("threads"), py::arg("trace"),
           py::arg("saver"), py::arg("copying"), py::arg("copies_first"))
      .def("wait_staged", &WaitStaged, py::arg("timeout"), kWaitStagedDoc)
      .def("wait_handed_over", &WaitHandedOver, py::arg("timeout"),
           "Wait until a saver has what it needs, or will not have it, at most "
           "`timeout` seconds; False if that is over.")
      .def("cancel", &StagedState::Cancel,
           py::call_guard<py::gil_scoped_release>(),
           "Give the state up: no save of it will come, or it is to fail.")
      .def_property_readonly("is_staged", &StagedState::is_staged,
                             "Whether the tensors may change.")
      .def_property_readonly(
          "pin_error",
          [](const StagedState& state) {
            return std::string(Message(state.pin_status()));
          },
          "Why devices copy to memory that is not pinned, once it is staged; "
          "else empty.")
      .def_property_readonly("sharing_error", &SharingError,
                             "Why all ranks save in threads although this one "
                             "has a saver, once that is known; else empty.")
      .def_property_readonly("nbytes", &StagedState::nbytes,
                             "Bytes of tensors in memory.")
      .def_property_readonly("nbytes_staged", &StagedState::nbytes_staged,
                             "How many of these are copied so far.")
      .def_property_readonly("nbytes_streamed", &StagedState::nbytes_streamed,
                             "How many are read where they are, when they are "
                             "written.");
  m.def(
      "prewarm_staging",
      [](int64_t nbytes, const StagingLimit& limit, const MaybeSaver& saver,
         int device) {
        const py::gil_scoped_release nogil;
        Device on;
        if (device >= 0) on = {.type = DeviceType::kCuda, .index = device};
        ThrowIfError(PrewarmStaging(nbytes,
                                    {.max_nbytes = limit.max_nbytes,
                                     .memory_share = limit.memory_share,
                                     .saver = saver.value_or(nullptr)},
                                    on));
      },
      py::arg("nbytes"), py::arg("limit"), py::arg("saver"), py::arg("device"),
      kPrewarmDoc);
  m.def("release_staging_memory", &ReleaseStagingMemory,
        py::call_guard<py::gil_scoped_release>(),
        "Give the memory that no staged state uses back to the system.");
  // It waits for who unpins memory, which may take as long as pinning.
  m.def("staging_memory_nbytes", &StagingMemoryNbytes,
        py::call_guard<py::gil_scoped_release>(),
        "Host memory that this process has for staged states, used or not.");
}

}  // namespace dcp
