// Loading a plug-in:
// 1. dlopen, and never dlclose: vtables and functions of the plug-in live in
//    objects that outlast any registry.
// 2. The entry point returns a struct of C types. Its versions are compared
//    before a C++ object crosses.
// 3. The plug-in fills a registry of its own, which is then merged under the
//    lock: all of its schemes are added, or none.

#include "dcp/plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace dcp {
namespace {

using EntryPoint = const PluginEntry* (*)();

/// The native format in a file system.
class NativeFormatFactory final : public StorageFactory {
 public:
  explicit NativeFormatFactory(std::shared_ptr<FileSystem> file_system)
      : file_system_(std::move(file_system)) {}

  StatusOr<std::unique_ptr<StorageWriter>> MakeWriter(
      const FileSystemWriterOptions& options) override {
    return MakeFileSystemWriter(options, {.file_system = file_system_});
  }
  StatusOr<std::unique_ptr<StorageReader>> MakeReader(
      const FileSystemReaderOptions& options) override {
    return MakeFileSystemReader(options, {.file_system = file_system_});
  }

 private:
  const std::shared_ptr<FileSystem> file_system_;
};

bool IsScheme(std::string_view text) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !text.empty() && is_letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return is_letter(c) || (c >= '0' && c <= '9') || c == '+' ||
                  c == '-' || c == '.';
         });
}

Status SchemeTaken(std::string_view scheme) {
  return MakeStatus(
      absl::StatusCode::kAlreadyExists,
      "there is a storage for " + std::string(scheme) + ":// already");
}

/// The entry of the library `path`, not yet checked.
StatusOr<const PluginEntry*> OpenPlugin(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return WithDetail(
        NotFound("cannot load the plug-in " + path + ": " + dlerror()),
        {.op = "dlopen", .path = path, .error_number = ENOENT});
  }
  const auto entry_point =
      reinterpret_cast<EntryPoint>(dlsym(library, "dcp_plugin_entry"));
  if (entry_point == nullptr) {
    return InvalidArgument(path +
                           " is not a plug-in of dcp: it exports no "
                           "dcp_plugin_entry (see dcp/plugin.h)");
  }
  return entry_point();
}

Status CheckFits(const PluginEntry& entry, const std::string& path) {
  if (entry.abi_version != kPluginAbiVersion) {
    return FailedPrecondition(
        "the plug-in " + path + " was built for plug-in interface " +
        std::to_string(entry.abi_version) + " of dcp, this one has " +
        std::to_string(kPluginAbiVersion) + "; compile it again");
  }
  if (std::string_view(entry.toolchain) != DCP_PLUGIN_TOOLCHAIN) {
    return FailedPrecondition("the plug-in " + path + " was built with " +
                              entry.toolchain + ", dcp with " +
                              DCP_PLUGIN_TOOLCHAIN + "; compile it again");
  }
  return absl::OkStatus();
}

}  // namespace

Status StorageRegistry::AddStorage(std::string_view scheme,
                                   std::shared_ptr<StorageFactory> factory) {
  if (!IsScheme(scheme) || factory == nullptr) {
    return InvalidArgument("\"" + std::string(scheme) +
                           "\" cannot be the scheme of a storage: it needs a "
                           "name of a-z, 0-9, '+', '-', '.' and a factory");
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<StorageFactory>& slot = factories_[std::string(scheme)];
  if (slot != nullptr) return SchemeTaken(scheme);
  slot = std::move(factory);
  return absl::OkStatus();
}

Status StorageRegistry::AddFileSystem(std::string_view scheme,
                                      std::shared_ptr<FileSystem> file_system) {
  if (file_system == nullptr) return AddStorage(scheme, nullptr);
  return AddStorage(
      scheme, std::make_shared<NativeFormatFactory>(std::move(file_system)));
}

StatusOr<std::vector<std::string>> StorageRegistry::LoadPlugin(
    const std::string& path) {
  DCP_ASSIGN_OR_RETURN(const PluginEntry* entry, OpenPlugin(path));
  DCP_RETURN_IF_ERROR(CheckFits(*entry, path));
  StatusOr<std::vector<std::string>> added = AddPlugin(*entry);
  if (added.ok()) return added;
  return Annotate(added.status(),
                  "plug-in \"" + std::string(entry->name) + "\" of " + path);
}

StatusOr<std::vector<std::string>> StorageRegistry::AddPlugin(
    const PluginEntry& entry) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto loaded = plugins_.find(&entry);
    if (loaded != plugins_.end()) return loaded->second;
  }
  StorageRegistry own;
  DCP_RETURN_IF_ERROR(entry.add_storages(own));
  std::vector<std::string> added = own.schemes();
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::string& scheme : added) {
    if (factories_.contains(scheme)) return SchemeTaken(scheme);
  }
  factories_.merge(own.factories_);
  plugins_.emplace(&entry, added);
  return added;
}

std::vector<std::string> StorageRegistry::schemes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [scheme, factory] : factories_) names.push_back(scheme);
  return names;
}

StatusOr<std::shared_ptr<StorageFactory>> StorageRegistry::Find(
    std::string* path) const {
  constexpr std::string_view kSeparator = "://";
  const size_t end = path->find(kSeparator);
  const std::string scheme =
      end == std::string::npos ? "" : path->substr(0, end);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = factories_.find(scheme);
  if (found != factories_.end()) {
    path->erase(0, end + kSeparator.size());
    return found->second;
  }
  std::string known;
  for (const auto& [name, factory] : factories_) known += " " + name + "://";
  return NotFound("no storage serves " + *path +
                  "; there are:" + (known.empty() ? " none" : known));
}

StatusOr<std::unique_ptr<StorageWriter>> StorageRegistry::MakeWriter(
    FileSystemWriterOptions options) const {
  if (options.checkpoint_id.empty()) options.checkpoint_id = options.path;
  DCP_ASSIGN_OR_RETURN(const auto factory, Find(&options.path));
  return factory->MakeWriter(options);
}

StatusOr<std::unique_ptr<StorageReader>> StorageRegistry::MakeReader(
    FileSystemReaderOptions options) const {
  DCP_ASSIGN_OR_RETURN(const auto factory, Find(&options.path));
  return factory->MakeReader(options);
}

}  // namespace dcp
