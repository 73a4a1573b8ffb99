#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dcp/transport.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// The transport of one process, which a signal can stop.
class InterruptibleTransport final : public Transport {
 public:
  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return inner_->Gather(message);
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    return inner_->Scatter(messages);
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return inner_->Broadcast(message);
  }
  Status AwaitAll(std::string_view phase) override {
    return inner_->AwaitAll(phase);
  }
  Status Check() override { return CheckSignals(); }

 private:
  const std::unique_ptr<Transport> inner_ = MakeSingleProcessTransport();
};

/// A Transport written in Python.
class PyTransport final : public Transport,
                          public py::trampoline_self_life_support {
 public:
  int rank() const override { return Ask("rank"); }
  int world_size() const override { return Ask("world_size"); }
  int coordinator() const override { return Ask("coordinator"); }

  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return CallPython([&] {
      std::vector<std::string> messages;
      for (py::handle item :
           Call("gather", py::bytes(message.data(), message.size()))) {
        messages.push_back(py::cast<std::string>(item));
      }
      return messages;
    });
  }

  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    return CallPython([&] {
      py::list list;
      for (const std::string& message : messages)
        list.append(py::bytes(message));
      return Call("scatter", list).cast<std::string>();
    });
  }

  StatusOr<std::string> Broadcast(std::string_view message) override {
    return CallPython([&] {
      return Call("broadcast", py::bytes(message.data(), message.size()))
          .cast<std::string>();
    });
  }

  Status AwaitAll(std::string_view phase) override {
    return CallPythonVoid(
        [&] { Call("await_all", py::str(phase.data(), phase.size())); });
  }

  Status Check() override {
    DCP_RETURN_IF_ERROR(CheckSignals());
    return CallPythonVoid([&] { Override("check")(); });
  }

 private:
  int Ask(const char* method) const {
    py::gil_scoped_acquire gil;
    return Override(method)().cast<int>();
  }

  py::object Call(const char* method, const py::object& argument) const {
    return Override(method)(argument);
  }

  py::function Override(const char* method) const {
    return py::get_override(static_cast<const Transport*>(this), method);
  }
};

}  // namespace

void BindTransport(py::module_& m) {
  py::class_<Transport, PyTransport, py::smart_holder>(
      m, "Transport",
      "Byte collectives between ranks (dcp/transport.h). Subclasses define "
      "rank(), "
      "world_size(), coordinator(), gather(bytes) -> list[bytes], "
      "scatter(list[bytes]) "
      "-> bytes, broadcast(bytes) -> bytes, await_all(phase) and check().")
      .def(py::init<>())
      .def("rank", &Transport::rank, "This process's number.")
      .def("world_size", &Transport::world_size, "How many ranks there are.");
  m.def(
      "single_process_transport",
      []() -> std::unique_ptr<Transport> {
        return std::make_unique<InterruptibleTransport>();
      },
      "The transport of one process, which signals can stop.");
  m.def(
      "as_buffer",
      [](uintptr_t address, py::ssize_t nbytes) {
        return py::memoryview::from_memory(
            reinterpret_cast<const void*>(address), nbytes);
      },
      py::arg("address"), py::arg("nbytes"),
      "A read-only view of memory that the caller keeps alive.");
}

}  // namespace dcp
