#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/hugging_face_storage.h"
#include "engine_names.h"
#include "format/safetensors_shards.h"
#include "python_status.h"
#include "registrars.h"
#include "storage/filesystem_reader.h"
#include "storage/filesystem_writer.h"
#include "storage_environment.h"
#include "torch_plan.h"

namespace py = pybind11;

namespace dcp {
namespace {

template <typename Options>
std::optional<int> ExportDType(const Options& options) {
  if (!options.export_dtype) return std::nullopt;
  return static_cast<int>(*options.export_dtype);
}

template <typename Options>
void SetExportDType(Options& options, std::optional<int> code) {
  options.export_dtype =
      code ? DTypeFromCode(static_cast<uint8_t>(*code)) : std::nullopt;
}

void BindIoOptions(py::module_& m) {
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
      .def_readwrite("max_buffer_nbytes", &IoOptions::max_buffer_nbytes)
      .def_readwrite("max_write_rate", &IoOptions::max_write_rate)
      .def_property(
          "nice", [](const IoOptions& o) { return o.placement.nice; },
          [](IoOptions& o, int nice) { o.placement.nice = nice; })
      .def_property(
          "cpus", [](const IoOptions& o) { return o.placement.cpus; },
          [](IoOptions& o, std::vector<int> cpus) {
            o.placement.cpus = std::move(cpus);
          })
      .def_property(
          "stall_timeout_seconds",
          [](const IoOptions& o) {
            return std::chrono::duration<double>(o.stall_timeout).count();
          },
          [](IoOptions& o, double seconds) {
            o.stall_timeout = std::chrono::duration_cast<Clock::Duration>(
                std::chrono::duration<double>(seconds));
          });
}

void BindStorageOptions(py::module_& m) {
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
      .def_property("export_dtype", &ExportDType<W>, &SetExportDType<W>)
      .def_readwrite("checkpoint_id", &W::checkpoint_id)
      .def_readwrite("io", &W::io);

  using R = FileSystemReaderOptions;
  py::class_<R>(m, "FileSystemReaderOptions", "dcp::FileSystemReaderOptions")
      .def(py::init<>())
      .def_readwrite("path", &R::path)
      .def_readwrite("verify", &R::verify)
      .def_readwrite("io", &R::io);
}

void BindHuggingFaceOptions(py::module_& m) {
  using W = HuggingFaceWriterOptions;
  py::class_<W>(m, "HuggingFaceWriterOptions", "dcp::HuggingFaceWriterOptions")
      .def(py::init<>())
      .def_readwrite("path", &W::path)
      .def_readwrite("file_numbers", &W::file_numbers)
      .def_readwrite("max_shard_nbytes", &W::max_shard_nbytes)
      .def_property("export_dtype", &ExportDType<W>, &SetExportDType<W>)
      .def_readwrite("one_writer_per_file", &W::one_writer_per_file)
      .def_readwrite("file_per_rank", &W::file_per_rank)
      .def_readwrite("overwrite", &W::overwrite)
      .def_readwrite("sync_files", &W::sync_files)
      .def_readwrite("save_id", &W::save_id)
      .def_readwrite("io", &W::io);
  m.def(
      "parse_shard_nbytes",
      [](const std::string& text) {
        return ValueOrThrow(ParseShardNbytes(text));
      },
      py::arg("text"), "Bytes of a size such as \"5GB\".");
}

void BindWriter(py::module_& m) {
  const py::class_<StorageWriter, py::smart_holder> base(m, "StorageWriter",
                                                         "dcp::StorageWriter");
  py::class_<FileSystemWriter, StorageWriter, py::smart_holder>(
      m, "FileSystemWriter", "The native format's writer.",
      // It may wait for threads that close a file system's files in Python.
      py::release_gil_before_calling_cpp_dtor())
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
      .def(
          "set_up_to_publish",
          [](FileSystemWriter& self) { ThrowIfError(self.SetUpToPublish()); },
          py::call_guard<py::gil_scoped_release>(),
          "After write_plan: this rank publishes.")
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
      .def("open_data", &OpenTorchPlan, py::arg("items"),
           "Open the files of a torch plan.")
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
  m.def(
      "make_hugging_face_writer",
      [](HuggingFaceWriterOptions options, const MaybeFileSystem& file_system) {
        return MakeHuggingFaceWriter(std::move(options),
                                     Environment(file_system));
      },
      py::arg("options"), py::arg("file_system") = py::none(),
      "Writes safetensors files.");
  m.def(
      "make_hugging_face_reader",
      [](const FileSystemReaderOptions& options,
         const MaybeFileSystem& file_system,
         std::optional<std::pair<int, int64_t>> dequantize) {
        HuggingFaceReaderOptions reader{.path = options.path, .io = options.io};
        if (dequantize) {
          reader.dequantize = {.target_dtype = *DTypeFromCode(
                                   static_cast<uint8_t>(dequantize->first)),
                               .block_size = dequantize->second};
        }
        return MakeHuggingFaceReader(std::move(reader),
                                     Environment(file_system));
      },
      py::arg("options"), py::arg("file_system") = py::none(),
      py::arg("dequantize") = py::none(),
      "Reads safetensors files; `dequantize` is a dtype's code and the size of "
      "blocks.");
  m.def(
      "make_reader_by_content",
      [](FileSystemReaderOptions options, const MaybeFileSystem& file_system) {
        return MakeReaderByContent(std::move(options),
                                   Environment(file_system));
      },
      py::arg("options"), py::arg("file_system") = py::none(),
      "Reads the format that it finds.");
}

}  // namespace

void BindStorage(py::module_& m) {
  BindIoOptions(m);
  BindStorageOptions(m);
  BindHuggingFaceOptions(m);
  BindWriter(m);
  BindReader(m);
}

}  // namespace dcp
