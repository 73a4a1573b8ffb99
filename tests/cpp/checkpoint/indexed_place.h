// Checkpoints with indexed metadata, for tests.

#ifndef DCP_TESTS_CHECKPOINT_INDEXED_PLACE_H_
#define DCP_TESTS_CHECKPOINT_INDEXED_PLACE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/copy_testing.h"
#include "checkpoint/rank_threads.h"
#include "checkpoint/verify_testing.h"
#include "format/file_names.h"

namespace dcp {

inline NativePlace Indexed(std::shared_ptr<FileSystem> fs) {
  NativePlace place{.fs = std::move(fs), .min_indexed_items = 1};
  place.writer.io = place.reader.io = ModestIo(IoEngineKind::kThreads);
  return place;
}

inline void SaveInto(const NativePlace& place, const conformance::State& state,
                     const SaveOptions& options = {}) {
  RequireAllSucceed(
      SaveOnRanks(Sharded(state, 2), NativeStorage(place), options));
}

inline std::shared_ptr<FileSystem> SavedIndexed(
    const conformance::State& state) {
  auto fs = MakeMemoryFileSystem();
  SaveInto(Indexed(fs), state);
  return fs;
}

/// The paths of the indices in /ckpt.
inline std::vector<std::string> IndexFiles(FileSystem& fs) {
  std::vector<std::string> paths = FilesOf(fs, ".dcpcpp-");
  std::erase_if(paths, [](const std::string& path) {
    return !IsIndexedMetadataName(path.substr(std::string("/ckpt/").size()));
  });
  return paths;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_INDEXED_PLACE_H_
