#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "dcp/trace.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {

void BindTrace(py::module_& m) {
  py::class_<Trace, std::shared_ptr<Trace>>(
      m, "Trace", "What a save did when (dcp/trace.h).")
      .def(py::init([] { return Trace::Make(); }))
      .def(
          "spans",
          [](const Trace& trace) {
            using Seconds = std::chrono::duration<double>;
            std::vector<
                std::tuple<std::string, double, double, uint64_t, int64_t>>
                spans;
            for (const TraceSpan& span : trace.spans()) {
              spans.emplace_back(span.name, Seconds(span.begin).count(),
                                 Seconds(span.end).count(), span.thread,
                                 span.nbytes);
            }
            return spans;
          },
          "(name, begin, end, thread, nbytes) each, in seconds since the trace "
          "was made.")
      .def_property_readonly("dropped", &Trace::dropped,
                             "How many spans there was no room for.");
}

}  // namespace dcp
