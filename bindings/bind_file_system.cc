#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "dcp/file_system.h"
#include "python_status.h"
#include "registrars.h"

namespace py = pybind11;

namespace dcp {
namespace {

/// A file whose methods are Python: read_into(offset, buffer), write(offset,
/// buffer), size(), sync(), close(), and discard() in the place of close()
/// after an error.
class PyFile final : public File {
 public:
  PyFile(std::string path, py::object file)
      : path_(std::move(path)), file_(std::move(file)) {}

  // Taking the GIL throws only while the interpreter ends.
  // NOLINTNEXTLINE(bugprone-exception-escape)
  ~PyFile() override {
    const py::gil_scoped_acquire gil;
    if (!closed_) {
      CallPythonVoid([&] { file_.attr("discard")(); }).IgnoreError();
    }
    // Not in a finalizer, which would lose what a signal handler raises.
    CheckSignals().IgnoreError();
    file_ = py::object();
  }

  const std::string& path() const override { return path_; }

  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override {
    return CallPythonVoid([&] {
      for (const IoSlice& slice : slices) {
        file_.attr("read_into")(byte_offset, Buffer(slice));
        byte_offset += static_cast<int64_t>(slice.nbytes);
      }
    });
  }

  StatusOr<int64_t> ReadCached(int64_t, std::span<const IoSlice>) override {
    return 0;
  }

  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override {
    return CallPythonVoid([&] {
      for (const IoSlice& slice : slices) {
        file_.attr("write")(byte_offset, Buffer(slice));
        byte_offset += static_cast<int64_t>(slice.nbytes);
      }
    });
  }

  StatusOr<int64_t> Size() override {
    return CallPython([&] { return file_.attr("size")().cast<int64_t>(); });
  }

  Status Truncate(int64_t) override {
    return Unimplemented("files of " + path_ + " cannot be cut");
  }
  Status Allocate(int64_t) override { return absl::OkStatus(); }

  Status Sync() override {
    return CallPythonVoid([&] { file_.attr("sync")(); });
  }
  Status Close() override {
    closed_ = true;
    return CallPythonVoid([&] { file_.attr("close")(); });
  }

 private:
  static py::memoryview Buffer(const IoSlice& slice) {
    return py::memoryview::from_memory(static_cast<void*>(slice.data),
                                       static_cast<py::ssize_t>(slice.nbytes));
  }

  const std::string path_;
  py::object file_;
  bool closed_ = false;
};

/// A FileSystem written in Python; see python/dcpcpp/_fsspec.py.
class PyFileSystem final : public FileSystem,
                           public py::trampoline_self_life_support {
 public:
  const FileSystemTraits& traits() const override {
    if (!traits_) {
      const py::gil_scoped_acquire gil;
      const auto fields =
          Override("traits")()
              .cast<std::tuple<std::string, bool, bool, bool>>();
      traits_ = FileSystemTraits{.name = std::get<0>(fields),
                                 .positional_writes = std::get<1>(fields),
                                 .atomic_rename = std::get<2>(fields),
                                 .directory_sync = std::get<3>(fields)};
    }
    return *traits_;
  }

  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    // None of them takes writes at any place.
    if (options.mode == OpenMode::kShared) {
      return Unimplemented("no file of file system " + traits().name +
                           " can be written by several: " + path);
    }
    return CallPython([&]() -> std::unique_ptr<File> {
      return std::make_unique<PyFile>(
          path, Override("open")(path, ModeName(options.mode)));
    });
  }
  Status MakeDirectories(const std::string& path) override {
    return CallPythonVoid([&] { Override("make_directories")(path); });
  }
  StatusOr<std::vector<DirectoryEntry>> List(const std::string& path) override {
    return CallPython([&] {
      std::vector<DirectoryEntry> entries;
      for (py::handle item : Override("list")(path)) {
        const auto entry = item.cast<std::pair<std::string, bool>>();
        entries.push_back(
            {.name = entry.first,
             .kind = entry.second ? FileKind::kDirectory : FileKind::kFile});
      }
      return entries;
    });
  }
  StatusOr<bool> Exists(const std::string& path) override {
    return CallPython([&] { return Override("exists")(path).cast<bool>(); });
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return CallPythonVoid([&] { Override("rename")(from, to); });
  }
  Status Remove(const std::string& path) override {
    return CallPythonVoid([&] { Override("remove")(path); });
  }
  Status SyncDirectory(const std::string& path) override {
    if (!traits().directory_sync) return absl::OkStatus();
    return CallPythonVoid([&] { Override("sync_directory")(path); });
  }
  StatusOr<std::optional<SpaceInfo>> Space(const std::string&) override {
    return std::optional<SpaceInfo>();
  }

 private:
  static const char* ModeName(OpenMode mode) {
    switch (mode) {
      case OpenMode::kRead:
        return "read";
      case OpenMode::kCreateNew:
        return "create";
      case OpenMode::kReplace:
        return "replace";
      case OpenMode::kShared:
        return "shared";  // is refused before: Open()
    }
    return "";
  }

  py::function Override(const char* method) const {
    return py::get_override(static_cast<const FileSystem*>(this), method);
  }

  mutable std::optional<FileSystemTraits> traits_;
};

}  // namespace

void BindFileSystem(py::module_& m) {
  py::class_<FileSystem, PyFileSystem, py::smart_holder>(
      m, "FileSystem",
      "Where files are (dcp/file_system.h). Subclasses define traits() -> "
      "(name, positional_writes, atomic_rename, directory_sync), open(path, "
      "mode), make_directories, list, exists, rename, remove and, with "
      "directory_sync, sync_directory.")
      .def(py::init<>());
  m.def("posix_file_system", &MakePosixFileSystem, "The machine's own files.");
  m.def("memory_file_system", &MakeMemoryFileSystem, "Files in memory.");
}

}  // namespace dcp
