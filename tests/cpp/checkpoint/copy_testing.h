// Copies from /ckpt to /copy, and what is copied.

#ifndef DCP_TESTS_CHECKPOINT_COPY_TESTING_H_
#define DCP_TESTS_CHECKPOINT_COPY_TESTING_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/old_or_new.h"
#include "checkpoint/verify_testing.h"
#include "dcp/copy.h"

namespace dcp {

using Files = std::map<std::string, std::string>;

inline StatusOr<CopyResult> Copy(std::shared_ptr<FileSystem> fs,
                                 CopyOptions options = {},
                                 const std::string& from = "/ckpt") {
  options.io = ModestIo(IoEngineKind::kThreads);
  return CopyCheckpoint(from, "/copy", options, {.file_system = std::move(fs)});
}

inline Files FilesIn(FileSystem& fs, const std::string& directory) {
  Files files;
  const auto entries = fs.List(directory);
  if (!entries.ok()) return files;
  for (const DirectoryEntry& entry : *entries) {
    files[entry.name] = GetFile(fs, JoinPath(directory, entry.name));
  }
  return files;
}

inline void Overwrite(std::shared_ptr<FileSystem> fs,
                      const conformance::State& state,
                      const std::string& directory = "/ckpt") {
  NativePlace place{.fs = std::move(fs), .directory = directory};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                     conformance::ShardedState(state, 2)));
}

inline std::shared_ptr<FileSystem> SafetensorsIn(const std::string& directory,
                                                 bool has_index) {
  Place place(MakeMemoryFileSystem(), directory);
  if (has_index) place.options.max_shard_nbytes = 100;
  conformance::State state;
  state.tensors["a"] = conformance::RandomTensor(1, DType::kFloat32, {30});
  state.tensors["b"] = conformance::RandomTensor(2, DType::kFloat32, {25});
  RequireAllSucceed(place.Save(Sharded(state, 2)));
  PutFile(*place.fs, JoinPath(directory, "config.json"), "{}");
  return place.fs;
}

inline std::shared_ptr<FileSystem> RankFilesIn(const std::string& directory) {
  Place place(MakeMemoryFileSystem(), directory);
  place.options.file_per_rank = true;
  conformance::State state;
  state.tensors["a"] = conformance::RandomTensor(1, DType::kFloat32, {30});
  RequireAllSucceed(place.Save(Sharded(state, 3)));
  return place.fs;
}

/// In /ckpt, without a word of dcp's.
inline std::shared_ptr<FileSystem> SafetensorsOfOthers(bool has_index) {
  auto fs = SafetensorsIn("/ckpt", has_index);
  for (const std::string& path : FilesOf(*fs, ".dcpcpp-")) {
    DCP_CHECK_OK(fs->Remove(path));
  }
  if (!has_index) return fs;
  const std::string index = "/ckpt/model.safetensors.index.json";
  std::string text = GetFile(*fs, index);
  text.replace(text.find("dcpcpp_save_id"), 14, "somebodys_note");
  PutFile(*fs, index, text);
  return fs;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_COPY_TESTING_H_
