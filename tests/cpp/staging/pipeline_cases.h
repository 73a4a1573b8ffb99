// Files, options and block makers for the tests of the pipelines.

#ifndef DCP_TESTS_STAGING_PIPELINE_CASES_H_
#define DCP_TESTS_STAGING_PIPELINE_CASES_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor_cases.h"
#include "conformance/bytes.h"
#include "dcp/file_system.h"
#include "staging/write_pipeline.h"
#include "testing/direct_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {

/// A directory of a file system, and how files are opened in it.
struct FilePlace {
  std::string name;
  std::shared_ptr<FileSystem> fs;
  std::string directory;
  DirectIo direct_io = DirectIo::kOff;
  /// What offsets of direct transfers are multiples of.
  int64_t alignment = 4096;
};

inline FilePlace MemoryPlace() {
  return {.name = "memory", .fs = MakeMemoryFileSystem(), .directory = ""};
}

/// Direct I/O in memory, so that it is tested on every machine.
inline FilePlace DirectMemoryPlace(int64_t alignment) {
  return {.name = "memory, direct, aligned to " + std::to_string(alignment),
          .fs = std::make_shared<testing::DirectFileSystem>(
              MakeMemoryFileSystem(),
              DirectIoAlignment{.memory = 4096, .offset = alignment}),
          .directory = "",
          .direct_io = DirectIo::kTry,
          .alignment = alignment};
}

inline std::vector<FilePlace> AllPlaces(const testing::TempDirectory& temp) {
  return {{.name = "posix, through the page cache",
           .fs = MakePosixFileSystem(),
           .directory = temp.path()},
          {.name = "posix, direct where possible",
           .fs = MakePosixFileSystem(),
           .directory = temp.path(),
           .direct_io = DirectIo::kTry},
          MemoryPlace(),
          DirectMemoryPlace(4096),
          DirectMemoryPlace(65536)};
}

inline const IoEngineKind kBothEngines[] = {IoEngineKind::kAuto,
                                            IoEngineKind::kThreads};

/// For PipelineOptions::proceed.
inline Status RefuseToProceed() {
  return MakeStatus(absl::StatusCode::kCancelled, "somebody wants it to end");
}

/// Takes longer than the time between two questions whether to proceed.
inline void OutlastProceedCheck() {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(60);
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// The bytes of one region, as a BlockFiller gives them.
struct RegionBytes {
  int64_t begin = 0;
  std::string bytes;
};

/// Fills blocks from strings; refers to them where it may.
class StringFiller final : public BlockFiller {
 public:
  explicit StringFiller(std::vector<RegionBytes> regions)
      : regions_(std::move(regions)) {}

  /// The fill with this number, from 1, returns an error.
  void FailAt(int64_t fill) { fail_at_ = fill; }

  Status Fill(const WriteBlock& block, FillMode mode,
              std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    {
      const std::lock_guard lock(mutex_);
      buffers_.insert(buffer.data());
      largest_ = std::max(largest_, buffer.size());
    }
    if (++fills_ == fail_at_) return Internal("the filler fails");
    if (cancelled_) return MakeStatus(absl::StatusCode::kCancelled, "late");
    RegionBytes& region = regions_[block.region];
    char* begin = region.bytes.data() + (block.byte_offset - region.begin);
    const auto nbytes = static_cast<size_t>(block.nbytes);
    if (mode == FillMode::kReference) {
      const size_t half = nbytes / 2;
      auto* bytes = reinterpret_cast<std::byte*>(begin);
      slices->push_back({bytes, half});
      std::memcpy(buffer.data(), begin + half, nbytes - half);
      slices->push_back({buffer.data(), nbytes - half});
    } else {
      std::memcpy(buffer.data(), begin, nbytes);
      slices->push_back({buffer.data(), nbytes});
    }
    return absl::OkStatus();
  }
  void Cancel() override { cancelled_ = true; }

  int64_t fills() const { return fills_; }
  bool cancelled() const { return cancelled_; }
  size_t buffer_count() const { return buffers_.size(); }
  size_t largest_buffer() const { return largest_; }

 private:
  std::vector<RegionBytes> regions_;
  int64_t fail_at_ = 0;
  std::atomic<int64_t> fills_{0};
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::set<const std::byte*> buffers_;
  size_t largest_ = 0;
};

}  // namespace dcp

#endif  // DCP_TESTS_STAGING_PIPELINE_CASES_H_
