#include "torch_plan.h"

#include <pybind11/stl.h>

#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "entries.h"
#include "python_status.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// Resolves items by a Python function, a wave at a time: torch's protocol.
class PyWriteSource final : public WriteSource {
 public:
  /// `resolve(position)` gives the fields of a view, or bytes.
  explicit PyWriteSource(const py::function& resolve) : resolve_(resolve) {}
  // Taking the GIL throws only while the interpreter ends.
  // NOLINTNEXTLINE(bugprone-exception-escape)
  ~PyWriteSource() override { Release(); }

  StatusOr<WritePayload> Resolve(const WriteItem& item) override {
    return CallPython([&]() -> WritePayload {
      py::object data = resolve_(item.source);
      alive_.push_back(data);
      if (PyBytes_Check(data.ptr())) return py::cast<std::string_view>(data);
      const py::tuple fields = data;
      return ViewFrom(fields, 0);
    });
  }
  int64_t max_resolved_nbytes() const override { return int64_t{64} << 20; }
  void Release() override {
    const py::gil_scoped_acquire gil;
    alive_.clear();
  }

 private:
  const py::function& resolve_;
  std::vector<py::object> alive_;
};

/// (fqn, offsets or None, index, type, sizes, nbytes)
WriteItem WriteItemFrom(const py::tuple& fields, int64_t source) {
  WriteItem item{.fqn = fields[0].cast<std::string>(),
                 .type = static_cast<WriteItemType>(fields[3].cast<int>()),
                 .nbytes = fields[5].cast<int64_t>(),
                 .source = source};
  if (!fields[1].is_none()) {
    item.chunk = {.offsets = DimsFrom(fields[1]), .sizes = DimsFrom(fields[4])};
  }
  return item;
}

/// Delivers a torch plan's reads to views that Python resolved beforehand.
class PyReadTarget final : public ReadTarget {
 public:
  explicit PyReadTarget(const std::vector<TensorView>& views) : views_(views) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    return views_[static_cast<size_t>(item.destination)];
  }
  Status LoadObject(const ReadItem& item, std::string object) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    objects_.emplace(item.destination, std::move(object));
    return absl::OkStatus();
  }
  Status LoadOpaqueTensor(const ReadItem& item, std::string object) override {
    return LoadObject(item, std::move(object));
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }

  std::map<int64_t, std::string>& objects() { return objects_; }

 private:
  const std::vector<TensorView>& views_;
  std::mutex mutex_;
  std::map<int64_t, std::string> objects_;
};

/// (type, fqn, storage offset or None, storage index or -1, storage_offsets,
/// lengths, view fields or None)
ReadItem ReadItemFrom(const py::tuple& fields, int64_t destination) {
  ReadItem item{.type = static_cast<LoadItemType>(fields[0].cast<int>()),
                .storage_index = {.fqn = fields[1].cast<std::string>()},
                .storage_offsets = DimsFrom(fields[4]),
                .lengths = DimsFrom(fields[5]),
                .destination = destination};
  if (!fields[2].is_none()) item.storage_index.offset = DimsFrom(fields[2]);
  if (const auto hint = fields[3].cast<int64_t>(); hint >= 0) {
    item.storage_index.index = hint;
  }
  return item;
}

}  // namespace

py::tuple WriteTorchPlan(FileSystemWriter& writer, const py::list& items,
                         const py::function& resolve) {
  SavePlan plan;
  for (size_t i = 0; i < items.size(); ++i) {
    plan.items.push_back(WriteItemFrom(items[i], static_cast<int64_t>(i)));
  }
  PyWriteSource source(resolve);
  StatusOr<WriteOutcome> outcome = [&]() -> StatusOr<WriteOutcome> {
    const py::gil_scoped_release nogil;
    DCP_RETURN_IF_ERROR(writer.PrepareLocalPlan(plan).status());
    return writer.WriteData(plan, "", source);
  }();
  ThrowIfError(outcome.status());
  std::unordered_map<MetadataIndex, const StorageInfo*, MetadataIndexHash>
      by_index;
  for (const WriteResult& result : outcome->results) {
    by_index.emplace(result.index, &result.storage_info);
  }
  py::list places;
  for (const WriteItem& item : plan.items) {
    const StorageInfo& info = *by_index.at(item.index());
    places.append(py::make_tuple(info.relative_path, info.offset, info.length,
                                 info.transform_descriptors));
  }
  return py::make_tuple(places, py::bytes(outcome->storage_data));
}

void OpenTorchPlan(StorageReader& reader, const py::list& items) {
  LoadPlan plan;
  for (const auto& item : items) {
    plan.items.push_back(ReadItemFrom(py::cast<py::tuple>(item), 0));
  }
  const py::gil_scoped_release nogil;
  ThrowIfError(reader.OpenData(plan));
}

py::list ReadTorchPlan(StorageReader& reader, const py::list& items) {
  LoadPlan plan;
  std::vector<TensorView> views(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const py::tuple fields = items[i];
    plan.items.push_back(ReadItemFrom(fields, static_cast<int64_t>(i)));
    if (!fields[6].is_none()) views[i] = ViewFrom(fields[6], 0);
  }
  PyReadTarget target(views);
  {
    const py::gil_scoped_release nogil;
    ThrowIfError(reader.ReadData(plan, target));
  }
  py::list objects;
  for (auto& [position, object] : target.objects()) {
    const std::string bytes = std::move(object);
    objects.append(py::make_tuple(position, py::bytes(bytes)));
  }
  return objects;
}

}  // namespace dcp
