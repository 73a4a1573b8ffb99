// Plug-ins: storages and file systems of third parties, found at run time.
//
// A plug-in is a shared library that links libdcp and exports one entry point,
// which DCP_PLUGIN makes:
//
//   #include "dcp/plugin.h"
//
//   dcp::Status Register(dcp::StorageRegistry& registry) {
//     DCP_RETURN_IF_ERROR(registry.AddFileSystem("mem", MakeMyFileSystem()));
//     return registry.AddStorage("archive", std::make_shared<MyFactory>());
//   }
//   DCP_PLUGIN("my storages", Register)
//
// From C++, StorageRegistry::LoadPlugin adds it to a registry, which then makes
// writers and readers for the plug-in's URLs. From Python:
//
//   dcpcpp.load_plugin("/path/libmy_storages.so")
//   dcpcpp.save(state, checkpoint_id="archive:///ckpt/7.dcpar")
//
// C++ objects cross between a plug-in and libdcp, so both must come from the
// same release of dcp, the same Abseil and the same standard library; this is
// checked before any of the plug-in's own code runs. A plug-in links the shared
// libdcp (dcp::dcp): the one in the Python package if it is for Python
// (dcpcpp.get_cmake_dir()). It is never unloaded.

#ifndef DCP_PLUGIN_H_
#define DCP_PLUGIN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"
#include "dcp/storage.h"

namespace dcp {

/// Makes the writers and readers of one storage. Thread-safe.
class StorageFactory {
 public:
  virtual ~StorageFactory() = default;

  /// `options.path` is what follows "scheme://", `checkpoint_id` the URL. A
  /// factory that cannot do what an option asks for refuses it
  /// (kUnimplemented); those of `options.io`, `file_count` and
  /// `single_file_per_rank`, which change no promise, it may ignore.
  virtual StatusOr<std::unique_ptr<StorageWriter>> MakeWriter(
      const FileSystemWriterOptions& options) = 0;
  virtual StatusOr<std::unique_ptr<StorageReader>> MakeReader(
      const FileSystemReaderOptions& options) = 0;
};

struct PluginEntry;

/// Which storage serves which URL. Thread-safe.
class StorageRegistry {
 public:
  StorageRegistry() = default;
  StorageRegistry(const StorageRegistry&) = delete;
  StorageRegistry& operator=(const StorageRegistry&) = delete;

  /// "scheme://path" is served by `factory` from now on.
  /// \error kInvalidArgument  `scheme` is not lower-case letters, digits, '+',
  ///     '-' and '.', the first a letter, or `factory` is null
  /// \error kAlreadyExists    somebody serves it
  Status AddStorage(std::string_view scheme,
                    std::shared_ptr<StorageFactory> factory);
  /// "scheme://path" is a checkpoint in PyTorch's native format in the
  /// directory `path` of `file_system`.
  /// \error as AddStorage
  Status AddFileSystem(std::string_view scheme,
                       std::shared_ptr<FileSystem> file_system);

  /// Opens the shared library `path`, checks that it fits this libdcp, and
  /// lets it add its storages. Returns the schemes that it added, sorted; the
  /// same again if it is loaded already.
  /// \error kNotFound            `path` cannot be opened as a library; the
  ///     message is the dynamic loader's
  /// \error kInvalidArgument     it is not a plug-in
  /// \error kFailedPrecondition  it was built for another dcp, Abseil or
  ///     standard library
  /// \error kAlreadyExists       somebody serves one of its schemes; none of
  ///     them was added
  StatusOr<std::vector<std::string>> LoadPlugin(const std::string& path);

  /// Sorted.
  std::vector<std::string> schemes() const;

  /// The writer for the URL `options.path`.
  /// \error kNotFound  nobody serves its scheme; the message says who is there
  StatusOr<std::unique_ptr<StorageWriter>> MakeWriter(
      FileSystemWriterOptions options) const;
  StatusOr<std::unique_ptr<StorageReader>> MakeReader(
      FileSystemReaderOptions options) const;

 private:
  using Factories =
      std::map<std::string, std::shared_ptr<StorageFactory>, std::less<>>;

  /// Replaces the URL `*path` by what follows its scheme.
  StatusOr<std::shared_ptr<StorageFactory>> Find(std::string* path) const;
  StatusOr<std::vector<std::string>> AddPlugin(const PluginEntry& entry);

  mutable std::mutex mutex_;  // guards what follows
  Factories factories_;
  std::map<const PluginEntry*, std::vector<std::string>> plugins_;
};

/// What a plug-in's entry point returns: plain C, so that it can be read before
/// it is known whether anything else fits. Fields are only ever added.
struct PluginEntry {
  uint32_t abi_version;  ///< kPluginAbiVersion of the headers it was built with
  const char* toolchain;  ///< DCP_PLUGIN_TOOLCHAIN of its compiler
  const char* name;       ///< for messages
  Status (*add_storages)(StorageRegistry& registry);
};

/// Raised when a class, an enumeration or a function of dcp/ changes in a way
/// that a plug-in must be compiled again for.
inline constexpr uint32_t kPluginAbiVersion = 7;

}  // namespace dcp

// What else decides whether C++ objects have the same layout on both sides.
#define DCP_STRINGIFY_INNER_(x) #x
#define DCP_STRINGIFY_(x) DCP_STRINGIFY_INNER_(x)
#if defined(_GLIBCXX_RELEASE)
#define DCP_STANDARD_LIBRARY_ \
  "libstdc++, cxx11 abi " DCP_STRINGIFY_(_GLIBCXX_USE_CXX11_ABI)
#elif defined(_LIBCPP_VERSION)
#define DCP_STANDARD_LIBRARY_ "libc++, abi " DCP_STRINGIFY_(_LIBCPP_ABI_VERSION)
#else
#define DCP_STANDARD_LIBRARY_ "an unknown standard library"
#endif
#if defined(ABSL_LTS_RELEASE_VERSION)
#define DCP_ABSEIL_ "abseil " DCP_STRINGIFY_(ABSL_LTS_RELEASE_VERSION)
#else
#define DCP_ABSEIL_ "abseil head"
#endif
#define DCP_PLUGIN_TOOLCHAIN DCP_ABSEIL_ ", " DCP_STANDARD_LIBRARY_

/// Exports the entry point of a plug-in. At namespace scope, once a library;
/// `function` is a `dcp::Status function(dcp::StorageRegistry&)`.
#define DCP_PLUGIN(plugin_name, function)                                     \
  extern "C" __attribute__((visibility("default"))) const ::dcp::PluginEntry* \
  dcp_plugin_entry() {                                                        \
    static const ::dcp::PluginEntry kEntry = {::dcp::kPluginAbiVersion,       \
                                              DCP_PLUGIN_TOOLCHAIN,           \
                                              plugin_name, function};         \
    return &kEntry;                                                           \
  }

#endif  // DCP_PLUGIN_H_
