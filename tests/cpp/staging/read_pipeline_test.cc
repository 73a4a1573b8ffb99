#include "staging/read_pipeline.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "staging/pipeline_cases.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using conformance::MustOpen;
using conformance::RandomBytes;
using testing::CachedReads;
using testing::DirectFileSystem;
using testing::FaultInjectionFileSystem;

/// Compares blocks with what the files hold. Takes some in place: in two
/// pieces, with the middle into scratch memory.
class CheckingConsumer final : public BlockConsumer {
 public:
  CheckingConsumer(std::vector<std::string> files, size_t block_count)
      : files_(std::move(files)), memory_(block_count), seen_(block_count) {}

  /// Blocks carry their number, times the count of files, plus the file's.
  bool Place(const ReadBlock& block, std::span<std::byte> scratch,
             std::vector<IoSlice>* slices) override {
    const size_t number = NumberOf(block);
    if (number % 3 == 0) return false;
    const auto nbytes = static_cast<size_t>(block.nbytes);
    const size_t third = nbytes / 3;
    memory_[number].resize(nbytes);
    auto* memory = reinterpret_cast<std::byte*>(memory_[number].data());
    slices->push_back({memory, third});
    slices->push_back({scratch.data(), third});
    slices->push_back({memory + 2 * third, nbytes - 2 * third});
    return true;
  }

  Status Consume(const ReadBlock& block,
                 std::span<const IoSlice> slices) override {
    std::string bytes;
    for (const IoSlice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.data), slice.nbytes);
    }
    const std::string& file = files_[block.tag % files_.size()];
    const bool same =
        file.compare(static_cast<size_t>(block.byte_offset),
                     static_cast<size_t>(block.nbytes), bytes) == 0;
    const std::lock_guard lock(mutex_);
    ++seen_[NumberOf(block)];
    if (!same) wrong_ = true;
    return absl::OkStatus();
  }

  bool each_once() const {
    return std::all_of(seen_.begin(), seen_.end(),
                       [](int times) { return times == 1; });
  }
  bool wrong() const { return wrong_; }

 private:
  size_t NumberOf(const ReadBlock& block) const {
    return block.tag / files_.size();
  }

  const std::vector<std::string> files_;
  std::vector<std::string> memory_;
  std::mutex mutex_;
  std::vector<int> seen_;
  bool wrong_ = false;
};

void CheckRandomBlocks(const FilePlace& place, IoEngineKind engine,
                       uint64_t seed) {
  INFO(place.name << ", seed " << seed);
  Random random(seed);
  std::vector<std::string> contents;
  std::vector<std::unique_ptr<File>> files;
  for (int64_t f = random.Between(1, 3); f > 0; --f) {
    contents.push_back(RandomBytes(
        random.engine(), static_cast<size_t>(random.Between(1, 400000))));
    const std::string path = JoinPath(place.directory, std::to_string(f));
    DCP_CHECK_OK(WriteFile(*place.fs, path, contents.back(), SyncMode::kSync));
    files.push_back(MustOpen(*place.fs, path, {.direct_io = place.direct_io}));
  }
  const PipelineOptions options{
      .engine = engine,
      .workers = static_cast<int>(random.Between(1, 4)),
      .blocks_per_worker = static_cast<int>(random.Between(2, 4)),
      .direct_block_nbytes = random.Between(1, 100000)};
  std::vector<ReadBlock> blocks(static_cast<size_t>(random.Between(0, 40)));
  for (size_t i = 0; i < blocks.size(); ++i) {
    const size_t f = random.engine() % files.size();
    const auto size = static_cast<int64_t>(contents[f].size());
    const int64_t nbytes =
        random.Between(1, std::min(size, options.direct_block_nbytes));
    blocks[i] = {.file = files[f].get(),
                 .byte_offset = random.OneIn(3)
                                    ? size - nbytes
                                    : random.Between(0, size - nbytes),
                 .nbytes = nbytes,
                 .tag = i * files.size() + f};
  }
  CheckingConsumer consumer(contents, blocks.size());
  const auto stats = RunReadPipeline(blocks, consumer, options);
  DCP_CHECK_OK(stats.status());
  CHECK(consumer.each_once());
  CHECK_FALSE(consumer.wrong());
  int64_t total = 0;
  for (const ReadBlock& block : blocks) total += block.nbytes;
  if (stats.ok()) CHECK(stats->nbytes_cached + stats->nbytes_device == total);
  for (const auto& file : files) DCP_CHECK_OK(place.fs->Remove(file->path()));
}

/// Random places of a memory file system behind a cache that knows little.
FilePlace ForgetfulPlace(int64_t alignment, uint64_t seed) {
  auto faulty = std::make_shared<FaultInjectionFileSystem>(
      MakeMemoryFileSystem(),
      testing::FaultScript{.cached_reads = CachedReads::kRandomlyShort,
                           .seed = seed});
  FilePlace place{.name = "forgetful memory", .fs = faulty, .directory = ""};
  if (alignment > 0) {
    place.fs = std::make_shared<DirectFileSystem>(
        faulty, DirectIoAlignment{.memory = 4096, .offset = alignment});
    place.direct_io = DirectIo::kTry;
    place.alignment = alignment;
  }
  return place;
}

TEST_CASE("random blocks are consumed once and right, from every kind of file",
          "[staging]") {
  const testing::TempDirectory temp;
  for (const FilePlace& place : AllPlaces(temp)) {
    for (IoEngineKind engine : kBothEngines) {
      for (uint64_t seed = 1; seed <= 20; ++seed) {
        CheckRandomBlocks(place, engine, seed);
      }
    }
  }
}

TEST_CASE("short cached reads are completed by the engine", "[staging]") {
  for (int64_t alignment : {0, 4096, 65536}) {
    for (IoEngineKind engine : kBothEngines) {
      for (uint64_t seed = 1; seed <= 30; ++seed) {
        CheckRandomBlocks(ForgetfulPlace(alignment, seed), engine, seed);
      }
    }
  }
}

TEST_CASE("direct I/O that is refused at any time leaves the bytes right",
          "[staging]") {
  for (int64_t asks = 0; asks < 40; ++asks) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      INFO("refused after " << asks);
      auto fs = std::make_shared<DirectFileSystem>(
          std::make_shared<FaultInjectionFileSystem>(
              MakeMemoryFileSystem(),
              testing::FaultScript{.cached_reads = CachedReads::kRandomlyShort,
                                   .seed = seed}));
      fs->RefuseAfter(asks);
      CheckRandomBlocks({.name = "direct at first",
                         .fs = fs,
                         .directory = "",
                         .direct_io = DirectIo::kTry},
                        IoEngineKind::kThreads, seed);
    }
  }
}

TEST_CASE("a block beyond the end of its file is data loss", "[staging]") {
  for (const FilePlace& place :
       {MemoryPlace(), DirectMemoryPlace(4096), ForgetfulPlace(4096, 1)}) {
    INFO(place.name);
    DCP_CHECK_OK(WriteFile(*place.fs, "/short", "0123456789", SyncMode::kNone));
    auto file = MustOpen(*place.fs, "/short", {.direct_io = place.direct_io});
    const ReadBlock block{.file = file.get(), .byte_offset = 5, .nbytes = 6};
    CheckingConsumer consumer({"0123456789"}, 1);
    const auto stats = RunReadPipeline({&block, 1}, consumer, {});
    CHECK(stats.status().code() == absl::StatusCode::kDataLoss);
    CHECK_FALSE(consumer.wrong());
  }
}

/// Takes its time, so that the pipeline asks whether to go on.
class SlowConsumer final : public BlockConsumer {
 public:
  bool Place(const ReadBlock&, std::span<std::byte>,
             std::vector<IoSlice>*) override {
    return false;
  }
  Status Consume(const ReadBlock&, std::span<const IoSlice>) override {
    OutlastProceedCheck();
    ++consumed;
    return absl::OkStatus();
  }

  int consumed = 0;
};

TEST_CASE("who runs the reading can end it between two blocks", "[staging]") {
  const FilePlace place = MemoryPlace();
  DCP_CHECK_OK(WriteFile(*place.fs, "/f", "0123456789", SyncMode::kNone));
  auto file = MustOpen(*place.fs, "/f", {});
  std::vector<ReadBlock> blocks;
  for (int i = 0; i < 10; ++i) {
    blocks.push_back({.file = file.get(), .byte_offset = i, .nbytes = 1});
  }
  SlowConsumer consumer;
  const auto stats = RunReadPipeline(
      blocks, consumer,
      {.workers = 1, .blocks_per_worker = 1, .proceed = RefuseToProceed});
  CHECK(stats.status().code() == absl::StatusCode::kCancelled);
  CHECK(consumer.consumed == 1);
}

}  // namespace
}  // namespace dcp
