#include "entries.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "kept.h"
#include "python_status.h"

namespace py = pybind11;

namespace dcp {
namespace {

std::string_view BytesView(py::handle value) {
  char* data = nullptr;
  Py_ssize_t nbytes = 0;
  if (PyBytes_AsStringAndSize(value.ptr(), &data, &nbytes) != 0) {
    throw py::error_already_set();
  }
  return {data, static_cast<size_t>(nbytes)};
}

/// A key, which Python lets hold half a surrogate pair.
std::string KeyFrom(py::handle key) {
  Py_ssize_t nbytes = 0;
  const char* text = PyUnicode_AsUTF8AndSize(key.ptr(), &nbytes);
  if (text == nullptr) {
    PyErr_Clear();
    throw py::value_error("the key " + py::repr(key).cast<std::string>() +
                          " is not Unicode text");
  }
  return {text, static_cast<size_t>(nbytes)};
}

DType DTypeFrom(py::handle code) {
  const auto dtype = DTypeFromCode(code.cast<uint8_t>());
  if (!dtype) throw py::value_error("unknown dtype code");
  return *dtype;
}

ObjectPath PathFrom(py::handle path) {
  ObjectPath result;
  for (py::handle part : path) {
    if (PyLong_Check(part.ptr())) {
      result.emplace_back(part.cast<int64_t>());
    } else {
      result.emplace_back(KeyFrom(part));
    }
  }
  return result;
}

/// A path of one string equal to the key says nothing.
bool IsTrivial(const ObjectPath& path, const std::string& fqn) {
  const auto* name =
      path.size() == 1 ? std::get_if<std::string>(&path[0]) : nullptr;
  return name != nullptr && *name == fqn;
}

py::object BoxTuple(const std::optional<Box>& box) {
  if (!box) return py::none();
  return py::make_tuple(ToTuple(box->offsets), ToTuple(box->sizes));
}

}  // namespace

Dims DimsFrom(py::handle value) {
  const auto tuple = py::reinterpret_borrow<py::tuple>(value);
  if (!PyTuple_Check(tuple.ptr())) throw py::type_error("expected a tuple");
  Dims dims;
  for (py::handle item : tuple) {
    const int64_t number = PyLong_AsLongLong(item.ptr());
    if (number == -1 && PyErr_Occurred() != nullptr) {
      throw py::error_already_set();
    }
    dims.push_back(number);
  }
  return dims;
}

py::tuple ToTuple(const Dims& dims) {
  py::tuple tuple(static_cast<size_t>(dims.size()));
  for (int d = 0; d < dims.size(); ++d) {
    tuple[static_cast<size_t>(d)] = py::int_(dims[d]);
  }
  return tuple;
}

TensorView ViewFrom(const py::tuple& entry, size_t first) {
  TensorView view;
  view.data = reinterpret_cast<void*>(entry[first].cast<uintptr_t>());
  view.dtype = DTypeFrom(entry[first + 1]);
  view.sizes = DimsFrom(entry[first + 2]);
  view.strides = DimsFrom(entry[first + 3]);
  const int device = entry[first + 4].cast<int>();
  if (device >= 0) view.device = {.type = DeviceType::kCuda, .index = device};
  view.stream = entry[first + 5].cast<uintptr_t>();
  view.op = static_cast<ElementOp>(entry[first + 6].cast<uint8_t>());
  return view;
}

namespace {

/// Small objects are copied: there may be 100,000 of them, and a reference
/// takes as much.
SerializedObject ObjectFrom(const py::object& bytes) {
  constexpr size_t kMaxCopied = size_t{16} << 10;
  const std::string_view view = BytesView(bytes);
  if (view.size() <= kMaxCopied) return {.bytes = std::string(view)};
  return {.bytes =
              OwnedView{.view = view, .owner = std::make_shared<Kept>(bytes)}};
}

/// Where the tensor of `entry` lies, by offsets or by its layout.
TensorShard PlacedShard(const py::tuple& entry, const std::string& fqn) {
  TensorView view = ViewFrom(entry, 1);
  if (entry[8].is_none()) {
    return std::get<TensorShard>(TensorEntry(fqn, std::move(view)).value);
  }
  Dims global_size = DimsFrom(entry[8]);
  if (!py::isinstance<MeshLayout>(entry[9])) {
    return {.view = std::move(view),
            .global_size = std::move(global_size),
            .offsets = DimsFrom(entry[9])};
  }
  StatusOr<SaveEntry> laid_out =
      LaidOutEntry(fqn, std::move(view), std::move(global_size),
                   entry[9].cast<std::shared_ptr<MeshLayout>>());
  return std::get<TensorShard>(ValueOrThrow(std::move(laid_out)).value);
}

/// The bytes of an encoded tensor in `entry` must outlive the result.
SaveEntry SaveEntryFrom(const py::tuple& entry) {
  SaveEntry result{.fqn = KeyFrom(entry[0])};
  result.path = PathFrom(entry[entry.size() - 1]);
  if (IsTrivial(result.path, result.fqn)) result.path.clear();
  if (entry.size() == 3) {
    result.value = ObjectFrom(entry[1]);
    return result;
  }
  TensorShard shard = PlacedShard(entry, result.fqn);
  shard.type = static_cast<WriteItemType>(entry[10].cast<int>());
  shard.requires_grad = entry[11].cast<bool>();
  if (!entry[12].is_none()) shard.encoded = BytesView(entry[12]);
  result.value = std::move(shard);
  return result;
}

LoadEntry LoadEntryFrom(const py::tuple& entry) {
  std::string fqn = KeyFrom(entry[0]);
  if (entry.size() == 1) return ObjectLoad(std::move(fqn));
  TensorView view = ViewFrom(entry, 1);
  if (entry[8].is_none()) return TensorLoad(std::move(fqn), std::move(view));
  return ShardLoad(std::move(fqn), std::move(view), DimsFrom(entry[8]),
                   DimsFrom(entry[9]));
}

}  // namespace

SaveEntries::SaveEntries(const py::iterable& tuples) {
  for (py::handle item : tuples) {
    const auto entry = py::reinterpret_borrow<py::tuple>(item);
    entries.push_back(SaveEntryFrom(entry));
    const auto* shard = std::get_if<TensorShard>(&entries.back().value);
    if (shard != nullptr && shard->encoded) kept.append(entry[12]);
  }
  entries.shrink_to_fit();
}

LoadEntries::LoadEntries(const py::iterable& tuples) {
  for (py::handle item : tuples) {
    entries.push_back(LoadEntryFrom(py::reinterpret_borrow<py::tuple>(item)));
  }
  entries.shrink_to_fit();
}

py::dict ToDict(LoadResult&& result) {
  py::list objects;
  for (LoadedObject& object : result.objects) {
    const std::string bytes = std::move(object.bytes);
    objects.append(py::make_tuple(object.entry, py::bytes(bytes),
                                  BoxTuple(object.destination_box),
                                  BoxTuple(object.source_box)));
  }
  py::list casts;
  for (const DTypeCast& cast : result.casts) {
    casts.append(py::make_tuple(cast.fqn, static_cast<int>(cast.stored),
                                static_cast<int>(cast.loaded), cast.lossy));
  }
  py::dict dict;
  dict["objects"] = objects;
  dict["missing"] = py::cast(result.missing);
  dict["unexpected"] = py::cast(result.unexpected);
  dict["casts"] = casts;
  dict["nbytes_read"] = result.nbytes_read;
  return dict;
}

}  // namespace dcp
