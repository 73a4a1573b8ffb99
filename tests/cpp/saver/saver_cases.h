// Savers, and saves that they carry out, for their tests.

#ifndef DCP_TESTS_SAVER_SAVER_CASES_H_
#define DCP_TESTS_SAVER_SAVER_CASES_H_

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/staged_saves.h"
#include "dcp/async_save.h"
#include "dcp/saver.h"

namespace dcp {

inline std::shared_ptr<Saver> MakeSaver(
    Clock::Duration patience = std::chrono::seconds(60)) {
  auto saver =
      Saver::Make({.program = DCP_SAVER_PROGRAM, .patience = patience});
  REQUIRE(saver.ok());
  return *std::move(saver);
}

/// Writes to `path`; slow enough to be killed in between if `is_slow`.
inline std::shared_ptr<StorageWriter> WriterTo(const std::string& path,
                                               bool is_slow = false) {
  FileSystemWriterOptions options{.path = path};
  options.io = ModestIo(IoEngineKind::kThreads);
  if (is_slow) options.io.max_write_rate = 1000;
  return MakeFileSystemWriter(options);
}

inline conformance::StorageUnderTest StorageIn(const std::string& path) {
  return NativeStorage(
      NativePlace{.fs = MakePosixFileSystem(), .directory = path});
}

/// Saves of ranks, each with a saver of its own.
struct SaverRanks {
  explicit SaverRanks(size_t world_size,
                      Clock::Duration patience = std::chrono::seconds(60)) {
    for (size_t rank = 0; rank < world_size; ++rank) {
      savers.push_back(MakeSaver(patience));
    }
  }

  using Handles = std::vector<std::unique_ptr<AsyncSaveHandle>>;

  /// `entries` by rank, which must outlive the handles. `limit` is of rank 1's
  /// staging memory.
  Handles Begin(AllEntries& entries, const std::string& path,
                bool is_slow = false, const SaveOptions& options = {},
                std::optional<int64_t> limit = std::nullopt) {
    auto transports = MakeThreadTransports(static_cast<int>(savers.size()),
                                           kRankTimeoutSeconds);
    Handles handles;
    for (size_t rank = 0; rank < savers.size(); ++rank) {
      const StagingOptions staging{
          .max_nbytes = rank == 1 ? limit : std::nullopt,
          .saver = savers[rank]};
      handles.push_back(AsyncSave(entries[rank].entries(), nullptr,
                                  {.writer = WriterTo(path, is_slow),
                                   .transport = std::move(transports[rank])},
                                  {.save = options, .staging = staging}));
    }
    return handles;
  }

  static void AwaitHandedOver(const Handles& handles) {
    for (const auto& handle : handles) DCP_CHECK_OK(handle->WaitHandedOver());
  }

  std::vector<std::shared_ptr<Saver>> savers;
};

}  // namespace dcp

#endif  // DCP_TESTS_SAVER_SAVER_CASES_H_
