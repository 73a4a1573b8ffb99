// Saves of staged states, for the tests of staging.

#ifndef DCP_TESTS_CHECKPOINT_STAGED_SAVES_H_
#define DCP_TESTS_CHECKPOINT_STAGED_SAVES_H_

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "checkpoint/staged_state.h"
#include "dcp/staging.h"
#include "staging/test_pages.h"
#include "storage/damage.h"
#include "testing/fake_device.h"

namespace dcp {

inline constexpr int64_t kMiB = int64_t{1} << 20;

/// An arena of the test's own, and a device. Outlives the states.
struct Stage {
  std::shared_ptr<StagedState> Begin(
      std::vector<SaveEntry> entries, const StagingOptions& options = {},
      std::shared_ptr<void> keep_alive = nullptr) {
    auto state =
        StagedEntries::Begin(std::move(entries), std::move(keep_alive), options,
                             {.arena = arena, .device = device});
    REQUIRE(state.ok());
    return *std::move(state);
  }

  PagesRecord pages;
  HostArena arena{std::make_unique<TestPages>(pages)};
  std::shared_ptr<testing::FakeDevice> device =
      std::make_shared<testing::FakeDevice>();
};

/// A save of one process.
inline StatusOr<SaveResult> SaveStaged(
    const std::shared_ptr<StagedState>& state,
    const conformance::StorageUnderTest& storage,
    const SaveOptions& options = {}) {
  const auto transport = MakeSingleProcessTransport();
  return Save(state, *storage.make_writer(), *transport, options);
}

inline NativePlace PlaceOn(std::shared_ptr<FileSystem> fs,
                           FileSystemWriterOptions options = {}) {
  options.io = ModestIo(IoEngineKind::kThreads);
  return {.fs = std::move(fs), .writer = std::move(options)};
}

inline void RequireSaved(const StatusOr<SaveResult>& saved) {
  INFO(Message(saved.status()));
  REQUIRE(saved.ok());
}

/// Entries of memory that `state` keeps.
inline std::vector<SaveEntry> EntriesOf(conformance::State& state) {
  std::vector<SaveEntry> entries;
  for (auto& [fqn, object] : state.objects) {
    entries.push_back({.fqn = fqn, .value = SerializedObject{object}});
  }
  for (auto& [fqn, tensor] : state.tensors) {
    entries.push_back(TensorEntry(
        fqn, ContiguousView(tensor.bytes.data(), tensor.dtype, tensor.sizes)));
  }
  return entries;
}

/// The stored bytes of every item of the checkpoint in /ckpt.
inline std::map<std::string, std::string> ItemsOf(FileSystem& fs) {
  std::map<std::string, std::string> items;
  const Metadata metadata = ReadMetadata(fs);
  for (const auto& [index, place] : metadata.storage_data) {
    const std::string file = GetFile(fs, "/ckpt/" + place.relative_path);
    items[ToString(index)] = file.substr(static_cast<size_t>(place.offset),
                                         static_cast<size_t>(place.length));
  }
  return items;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_STAGED_SAVES_H_
