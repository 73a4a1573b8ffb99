// Checkpoints in memory, and ways to damage them.

#ifndef DCP_TESTS_STORAGE_DAMAGE_H_
#define DCP_TESTS_STORAGE_DAMAGE_H_

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "conformance/storage_driver.h"
#include "storage/storage_cases.h"

namespace dcp {

inline void PutFile(FileSystem& fs, const std::string& path,
                    const std::string& bytes) {
  fs.Remove(path).IgnoreError();
  DCP_CHECK_OK(WriteFile(fs, path, bytes, SyncMode::kNone));
}

inline std::string GetFile(FileSystem& fs, const std::string& path) {
  return conformance::MustReadFile(fs, path);
}

/// A copy of all files of /ckpt.
inline std::shared_ptr<FileSystem> CopyOf(FileSystem& fs) {
  auto copy = MakeMemoryFileSystem();
  DCP_CHECK_OK(copy->MakeDirectories("/ckpt"));
  const auto entries = fs.List("/ckpt").value();
  for (const DirectoryEntry& entry : entries) {
    const std::string path = JoinPath("/ckpt", entry.name);
    PutFile(*copy, path, GetFile(fs, path));
  }
  return copy;
}

/// The paths of the files of /ckpt whose names begin with `prefix`.
inline std::vector<std::string> FilesOf(FileSystem& fs,
                                        const std::string& prefix) {
  std::vector<std::string> found;
  const auto entries = fs.List("/ckpt").value();
  for (const DirectoryEntry& entry : entries) {
    if (entry.name.starts_with(prefix)) {
      found.push_back(JoinPath("/ckpt", entry.name));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

inline void FlipBit(FileSystem& fs, const std::string& path, size_t byte,
                    int bit) {
  std::string bytes = GetFile(fs, path);
  bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
  PutFile(fs, path, bytes);
}

inline Metadata ReadMetadata(FileSystem& fs) {
  return ParseMetadata(GetFile(fs, "/ckpt/.metadata")).value();
}

/// Replaces `.metadata`, as torch would have written it: without a sidecar.
inline void PutStockMetadata(FileSystem& fs, Metadata metadata) {
  metadata.storage_meta->save_id = "not-one-of-dcp";
  PutFile(fs, "/ckpt/.metadata", SerializeMetadata(metadata).value());
  for (const std::string& sidecar : FilesOf(fs, ".dcpcpp-")) {
    DCP_CHECK_OK(fs.Remove(sidecar));
  }
}

/// `state` as a checkpoint of its own in /ckpt.
inline std::shared_ptr<FileSystem> Saved(
    const conformance::State& state, const FileSystemWriterOptions& options) {
  NativePlace place{.fs = MakeMemoryFileSystem(), .writer = options};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                     conformance::ShardedState(state, 2)));
  return place.fs;
}

/// The same as stock torch would have left it: no sidecar, CRCs in the items.
inline std::shared_ptr<FileSystem> SavedAsStock(
    const conformance::State& state) {
  auto fs = Saved(state, {});
  PutStockMetadata(*fs, ReadMetadata(*fs));
  return fs;
}

/// Loads everything of `state` from /ckpt.
inline Status LoadState(std::shared_ptr<FileSystem> fs,
                        const FileSystemReaderOptions& options,
                        std::vector<conformance::Wanted>& wanted) {
  NativePlace place{.fs = std::move(fs), .reader = options};
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  return conformance::LoadInto(*NativeStorage(place).make_reader(), wanted);
}

/// Whether every tensor has its bytes and every object its value: what lies
/// between the records of an item has no meaning.
inline bool AllRight(const conformance::State& state,
                     const std::vector<conformance::Wanted>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& want) {
    const std::string expected = conformance::ExpectedBytes(state, want);
    if (want.bytes == expected) return true;
    if (!state.objects.contains(want.fqn)) return false;
    const auto value = DecodeObject(want.bytes);
    return value.ok() && *value == DecodeObject(expected).value();
  });
}

}  // namespace dcp

#endif  // DCP_TESTS_STORAGE_DAMAGE_H_
