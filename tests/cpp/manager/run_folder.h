// A run's folder of small steps, for the tests of CheckpointManager.

#ifndef DCP_TESTS_MANAGER_RUN_FOLDER_H_
#define DCP_TESTS_MANAGER_RUN_FOLDER_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dcp/manager.h"
#include "dcp/metadata_codec.h"

namespace dcp {

inline void RequireOk(const Status& status) {
  INFO(std::string(Message(status)));
  REQUIRE(status.ok());
}

/// What a step's directory holds.
enum class Held {
  kFull,        ///< model and optimizer
  kModel,       ///< the model only
  kHfFile,      ///< one safetensors file
  kHalfNative,  ///< data files of a save that was killed
  kHalfHf,      ///< safetensors files without their index
};

inline bool Loads(Held held) {
  return held != Held::kHalfNative && held != Held::kHalfHf;
}

/// The bytes of a `.metadata`, as stock torch would write them, of objects.
inline std::string MetadataOf(const std::vector<std::string>& keys) {
  Metadata metadata;
  metadata.planner_data.emplace();
  for (const std::string& key : keys) {
    metadata.Add(key, BytesStorageMetadata{});
    metadata.storage_data[{.fqn = key}] = {.relative_path = "__0_0.distcp"};
  }
  return SerializeMetadata(metadata).value();
}

/// A safetensors file with one tensor.
inline std::string SafetensorsBytes() {
  std::string header =
      R"({"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  return bytes + header + std::string(4, '\0');
}

/// The names and the contents of the files of a step.
using StepFiles = std::vector<std::pair<std::string, std::string>>;

inline const StepFiles& FilesOf(Held held) {
  static const std::string kData = "data";
  static const StepFiles kFull = {
      {".metadata", MetadataOf({"weight", "optimizer.state.weight"})},
      {"__0_0.distcp", kData},
      {"__1_0.distcp", kData}};
  static const StepFiles kModel = {{".metadata", MetadataOf({"weight"})},
                                   {"__0_0.distcp", kData}};
  static const StepFiles kFile = {{"model.safetensors", SafetensorsBytes()},
                                  {"config.json", "{}"}};
  static const StepFiles kHalfNative = {{"__0_0.distcp", kData}};
  static const StepFiles kHalfHf = {
      {"model-00001-of-00001.safetensors", SafetensorsBytes()}};
  switch (held) {
    case Held::kFull:
      return kFull;
    case Held::kModel:
      return kModel;
    case Held::kHfFile:
      return kFile;
    case Held::kHalfNative:
      return kHalfNative;
    case Held::kHalfHf:
      break;
  }
  return kHalfHf;
}

/// /run in `fs`.
class RunOnDisk {
 public:
  explicit RunOnDisk(
      std::shared_ptr<FileSystem> file_system = MakeMemoryFileSystem())
      : fs_(std::move(file_system)) {
    RequireOk(fs_->MakeDirectories("/run"));
  }

  const std::shared_ptr<FileSystem>& fs() const { return fs_; }

  static std::string PathOf(int64_t step) {
    return "/run/step-" + std::to_string(step);
  }

  /// Replaces what is there, but a pin.
  void Put(int64_t step, Held held) const {
    const std::string path = PathOf(step);
    RequireOk(fs_->MakeDirectories(path));
    const auto entries = fs_->List(path).value();
    for (const DirectoryEntry& entry : entries) {
      if (entry.name == kPinFileName) continue;
      RequireOk(fs_->Remove(JoinPath(path, entry.name)));
    }
    for (const auto& [name, content] : FilesOf(held)) {
      RequireOk(
          WriteFile(*fs_, JoinPath(path, name), content, SyncMode::kNone));
    }
  }

  std::unique_ptr<CheckpointManager> Manager(
      ManagerOptions options = {}) const {
    return Manager(std::move(options), fs_);
  }

  static std::unique_ptr<CheckpointManager> Manager(
      ManagerOptions options, std::shared_ptr<FileSystem> file_system) {
    options.folder = "/run";
    return CheckpointManager::Make(std::move(options),
                                   {.file_system = std::move(file_system)})
        .value();
  }

  /// All names in the folder, sorted.
  std::vector<std::string> Names() const { return NamesIn("/run"); }

  std::vector<std::string> NamesIn(const std::string& directory) const {
    std::vector<std::string> names;
    const auto entries = fs_->List(directory).value();
    for (const DirectoryEntry& entry : entries) names.push_back(entry.name);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  const std::shared_ptr<FileSystem> fs_;
};

/// The numbers of `steps`, in their order.
inline std::vector<int64_t> Numbers(const std::vector<StepDirectory>& steps) {
  std::vector<int64_t> numbers;
  numbers.reserve(steps.size());
  for (const StepDirectory& step : steps) numbers.push_back(step.step);
  return numbers;
}

}  // namespace dcp

#endif  // DCP_TESTS_MANAGER_RUN_FOLDER_H_
