#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/free_memory.h"
#include "dcp/checkpoint.h"
#include "dcp/staging.h"
#include "entries.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

constexpr char kSaveDoc[] =
    "Save `entries`, which is empty afterwards, and return the bytes of the "
    "published `.metadata`.\n\nA rank that could not make its entries passes "
    "the "
    "exception as "
    "`error`, so that the others learn of it.";
constexpr char kLoadDoc[] =
    "Load the LoadEntries that `make_entries(metadata)` returns. `accept` gets "
    "a dict with "
    "objects, missing, unexpected, casts and nbytes_read; what it raises fails "
    "the load on all ranks.";

/// A LoadRequest in Python functions.
class PyLoadRequest final : public LoadRequest {
 public:
  PyLoadRequest(const py::function& make_entries, const py::function& accept)
      : make_entries_(make_entries), accept_(accept) {}

  StatusOr<std::vector<LoadEntry>> MakeEntries(
      const Metadata& metadata) override {
    return CallPython([&] {
      // The function may look at the metadata during the call only.
      const py::object view =
          py::cast(&metadata, py::return_value_policy::reference);
      return std::move(make_entries_(view).cast<LoadEntries&>().entries);
    });
  }

  Status Accept(LoadResult& result) override {
    return CallPythonVoid([&] { accept_(ToDict(std::move(result))); });
  }

 private:
  const py::function& make_entries_;
  const py::function& accept_;
};

py::bytes SaveFromPython(SaveEntries& entries, const py::object& error,
                         StorageWriter& writer, Transport& transport,
                         const SaveOptions& options) {
  StatusOr<std::span<const SaveEntry>> input(entries.entries);
  if (!error.is_none()) input = StatusFromPython(error);
  StatusOr<SaveResult> saved = [&] {
    const py::gil_scoped_release nogil;
    StatusOr<SaveResult> result = Save(input, writer, transport, options);
    FreeMemory(&entries.entries);
    return result;
  }();
  return ValueOrThrow(std::move(saved)).metadata_pickle;
}

py::bytes SaveStagedFromPython(const std::shared_ptr<StagedState>& staged,
                               const py::object& error, StorageWriter& writer,
                               Transport& transport,
                               const SaveOptions& options) {
  StatusOr<std::shared_ptr<StagedState>> input(staged);
  if (!error.is_none()) {
    staged->Cancel();
    input = StatusFromPython(error);
  }
  StatusOr<SaveResult> saved = [&] {
    const py::gil_scoped_release nogil;
    return Save(input, writer, transport, options);
  }();
  return ValueOrThrow(std::move(saved)).metadata_pickle;
}

void LoadFromPython(const py::function& make_entries,
                    const py::function& accept, StorageReader& reader,
                    Transport& transport, bool allow_partial_load,
                    bool pool_reads) {
  PyLoadRequest request(make_entries, accept);
  const Status loaded = [&] {
    const py::gil_scoped_release nogil;
    return Load(request, reader, transport,
                {.allow_partial_load = allow_partial_load,
                 .pool_reads = pool_reads})
        .status();
  }();
  ThrowIfError(loaded);
}

void BindInspection(py::module_& m) {
  py::class_<Checkpoint>(
      m, "Checkpoint", "A checkpoint opened for inspection (dcp/checkpoint.h).")
      .def(py::init([](std::unique_ptr<StorageReader> reader,
                       std::optional<int> rank) {
             const py::gil_scoped_release nogil;
             return ValueOrThrow(
                 Checkpoint::Open(std::move(reader), {.rank = rank}));
           }),
           py::arg("reader"), py::arg("rank"))
      .def_property_readonly("metadata", &Checkpoint::metadata,
                             py::return_value_policy::reference_internal)
      .def(
          "read",
          [](Checkpoint& self, const LoadEntries& entries) {
            StatusOr<LoadResult> result = [&] {
              const py::gil_scoped_release nogil;
              return self.Read(entries.entries);
            }();
            return ToDict(ValueOrThrow(std::move(result)));
          },
          py::arg("entries"), "Fills load entries; see load().");
}

}  // namespace

void BindCheckpoint(py::module_& m) {
  py::class_<PlanCache, std::shared_ptr<PlanCache>>(
      m, "PlanCache",
      "What a rank remembers of the last plan of its saves "
      "(dcp/plan_cache.h).")
      .def(py::init<>());
  py::class_<SaveOptions>(m, "SaveOptions", "dcp::SaveOptions")
      .def(py::init<>())
      .def_readwrite("dedup_to_lowest_rank", &SaveOptions::dedup_to_lowest_rank)
      .def_readwrite("split_nbytes", &SaveOptions::split_nbytes)
      .def_readwrite("record_paths", &SaveOptions::record_paths)
      .def_readwrite("use_collectives", &SaveOptions::use_collectives)
      .def_readwrite("trace", &SaveOptions::trace)
      .def_readwrite("plan_cache", &SaveOptions::plan_cache);
  py::class_<LoadEntries>(m, "LoadEntries",
                          "What a load fills; see dcpcpp._tensors.")
      .def(py::init<const py::iterable&>(), py::arg("tuples"));
  m.def("save", &SaveFromPython, py::arg("entries"), py::arg("error"),
        py::arg("writer"), py::arg("transport"), py::arg("options"), kSaveDoc);
  m.def("save", &SaveStagedFromPython, py::arg("staged"), py::arg("error"),
        py::arg("writer"), py::arg("transport"), py::arg("options"),
        "Save what was staged, once.");
  m.def("load", &LoadFromPython, py::arg("make_entries"), py::arg("accept"),
        py::arg("reader"), py::arg("transport"), py::arg("allow_partial_load"),
        py::arg("pool_reads") = true, kLoadDoc);
  BindInspection(m);
}

}  // namespace dcp
