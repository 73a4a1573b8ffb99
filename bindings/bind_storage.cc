#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "engine_names.h"
#include "entries.h"
#include "python_status.h"
#include "registrars.h"
#include "storage/filesystem_reader.h"
#include "storage/filesystem_writer.h"

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
  int64_t max_resolved_nbytes() const override { return int64_t{256} << 20; }
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

/// Writes a torch plan: ([(relative_path, offset, length, transforms), ...] in
/// the order of `items`, notes for publish()).
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

  const std::map<int64_t, std::string>& objects() const { return objects_; }

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

/// Reads a torch plan into the views; returns (position, bytes) of objects and
/// of tensors that only torch can decode.
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
  for (const auto& [position, bytes] : target.objects()) {
    objects.append(py::make_tuple(position, py::bytes(bytes)));
  }
  return objects;
}

std::optional<int> ExportDType(const FileSystemWriterOptions& options) {
  if (!options.export_dtype) return std::nullopt;
  return static_cast<int>(*options.export_dtype);
}

void SetExportDType(FileSystemWriterOptions& options, std::optional<int> code) {
  options.export_dtype =
      code ? DTypeFromCode(static_cast<uint8_t>(*code)) : std::nullopt;
}

void BindOptions(py::module_& m) {
  py::class_<IoOptions>(m, "IoOptions", "How bytes move: dcp::IoOptions")
      .def(py::init<>())
      .def_property(
          "engine", [](const IoOptions& o) { return EngineName(o.engine); },
          [](IoOptions& o, const std::string& name) {
            o.engine = EngineFrom(name);
          })
      .def_property(
          "direct_io",
          [](const IoOptions& o) { return o.direct_io != DirectIo::kOff; },
          [](IoOptions& o, bool use) {
            o.direct_io = use ? DirectIo::kTry : DirectIo::kOff;
          })
      .def_readwrite("workers", &IoOptions::workers)
      .def_readwrite("block_nbytes", &IoOptions::block_nbytes)
      .def_readwrite("max_buffer_nbytes", &IoOptions::max_buffer_nbytes);

  using W = FileSystemWriterOptions;
  py::class_<W>(m, "FileSystemWriterOptions", "dcp::FileSystemWriterOptions")
      .def(py::init<>())
      .def_readwrite("path", &W::path)
      .def_readwrite("save_id", &W::save_id)
      .def_readwrite("single_file_per_rank", &W::single_file_per_rank)
      .def_readwrite("sync_files", &W::sync_files)
      .def_readwrite("file_count", &W::file_count)
      .def_readwrite("overwrite", &W::overwrite)
      .def_property(
          "zstd",
          [](const W& o) { return o.compression == Compression::kZstd; },
          [](W& o, bool use) {
            o.compression = use ? Compression::kZstd : Compression::kNone;
          })
      .def_property("export_dtype", &ExportDType, &SetExportDType)
      .def_readwrite("checkpoint_id", &W::checkpoint_id)
      .def_readwrite("io", &W::io);

  using R = FileSystemReaderOptions;
  py::class_<R>(m, "FileSystemReaderOptions", "dcp::FileSystemReaderOptions")
      .def(py::init<>())
      .def_readwrite("path", &R::path)
      .def_readwrite("verify", &R::verify)
      .def_readwrite("io", &R::io);
}

using MaybeFileSystem = std::optional<std::shared_ptr<FileSystem>>;

StorageEnvironment Environment(const MaybeFileSystem& file_system) {
  return {.file_system = file_system.value_or(MakePosixFileSystem()),
          .device_runtime = MakeCudaRuntime(),
          .clock = MakeSystemClock()};
}

void BindWriter(py::module_& m) {
  const py::class_<StorageWriter, py::smart_holder> base(m, "StorageWriter",
                                                         "dcp::StorageWriter");
  py::class_<FileSystemWriter, StorageWriter, py::smart_holder>(
      m, "FileSystemWriter", "The native format's writer.")
      .def(py::init([](FileSystemWriterOptions options,
                       const MaybeFileSystem& file_system) {
             return std::make_unique<FileSystemWriter>(
                 std::move(options), Environment(file_system));
           }),
           py::arg("options"), py::arg("file_system") = py::none())
      .def(
          "set_up",
          [](FileSystemWriter& self, int rank, bool is_coordinator,
             bool use_collectives) {
            ThrowIfError(self.SetUp({.rank = rank,
                                     .is_coordinator = is_coordinator,
                                     .use_collectives = use_collectives}));
          },
          py::arg("rank"), py::arg("is_coordinator"),
          py::arg("use_collectives"), py::call_guard<py::gil_scoped_release>())
      .def("write_plan", &WriteTorchPlan, py::arg("items"), py::arg("resolve"),
           "Write the items of a torch plan.")
      .def(
          "publish",
          [](FileSystemWriter& self, const py::bytes& metadata,
             const std::vector<py::bytes>& notes) {
            const auto pickle = metadata.cast<std::string>();
            const std::vector<std::string> storage_data(notes.begin(),
                                                        notes.end());
            const py::gil_scoped_release nogil;
            ThrowIfError(self.Publish(pickle, storage_data));
          },
          py::arg("metadata"), py::arg("notes"),
          "Commit: the bytes of `.metadata` and every rank's notes.")
      .def("abort", &FileSystemWriter::Abort,
           py::call_guard<py::gil_scoped_release>());
}

void BindReader(py::module_& m) {
  py::class_<CheckpointIndex, std::shared_ptr<CheckpointIndex>>(
      m, "CheckpointIndex", "Metadata and the storage's notes.")
      .def(py::init([](const Metadata& metadata) {
             return std::make_shared<CheckpointIndex>(
                 CheckpointIndex{.metadata = metadata});
           }),
           py::arg("metadata"))
      .def_readonly("metadata", &CheckpointIndex::metadata);
  py::class_<StorageReader, py::smart_holder>(m, "StorageReader",
                                              "dcp::StorageReader")
      .def(
          "read_index",
          [](StorageReader& self, std::optional<int> rank) {
            const py::gil_scoped_release nogil;
            return std::make_shared<CheckpointIndex>(ValueOrThrow(
                rank ? self.ReadRankIndex(*rank) : self.ReadIndex()));
          },
          py::arg("rank"))
      .def(
          "set_up",
          [](StorageReader& self, const CheckpointIndex& index) {
            ThrowIfError(self.SetUp(index, {}));
          },
          py::arg("index"), py::keep_alive<1, 2>())
      .def("read_plan", &ReadTorchPlan, py::arg("items"),
           "Read the items of a torch plan.");
  py::class_<FileSystemReader, StorageReader, py::smart_holder>(
      m, "FileSystemReader", "The native format's reader.")
      .def(py::init([](FileSystemReaderOptions options,
                       const MaybeFileSystem& file_system) {
             return std::make_unique<FileSystemReader>(
                 std::move(options), Environment(file_system));
           }),
           py::arg("options"), py::arg("file_system") = py::none());
}

}  // namespace

void BindStorage(py::module_& m) {
  BindOptions(m);
  BindWriter(m);
  BindReader(m);
}

}  // namespace dcp
