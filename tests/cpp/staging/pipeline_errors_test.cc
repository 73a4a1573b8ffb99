// What fails in a pipeline stops it, comes back once, and leaves nobody
// waiting: for every call that can fail.

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "staging/pipeline_cases.h"
#include "staging/read_pipeline.h"
#include "staging/write_pipeline.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::MustOpen;
using conformance::RandomBytes;
using testing::Fault;
using testing::FaultDuration;
using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

constexpr int64_t kBlock = 65536;
constexpr int kBlocks = 12;

PipelineOptions ManyWorkers(IoEngineKind engine) {
  return {.engine = engine,
          .workers = 3,
          .blocks_per_worker = 2,
          .direct_block_nbytes = kBlock,
          .buffered_block_nbytes = kBlock};
}

/// A file system that fails as `script` says, seen directly or not.
struct FaultyPlace {
  FaultyPlace(DirectIo mode, testing::FaultScript script)
      : faulty(std::make_shared<FaultInjectionFileSystem>(
            MakeMemoryFileSystem(), std::move(script))),
        fs(std::make_shared<testing::DirectFileSystem>(faulty)),
        direct_io(mode) {}

  std::shared_ptr<FaultInjectionFileSystem> faulty;
  std::shared_ptr<FileSystem> fs;
  DirectIo direct_io;
};

void CheckWriteFault(DirectIo direct_io, IoEngineKind engine,
                     const Fault& fault) {
  INFO("write " << fault.call << ", direct_io " << int{direct_io != DirectIo{}}
                << ", effect " << int(fault.effect));
  FaultyPlace place(direct_io, {.faults = {fault}});
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f",
               {.mode = OpenMode::kCreateNew, .direct_io = place.direct_io});
  const FileRegion region{.file = file, .begin = 0, .end = kBlocks * kBlock};
  StringFiller filler(
      {{.begin = 0, .bytes = std::string(kBlocks * kBlock, 'x')}});
  const Status status = RunWritePipeline({&region, 1}, WriteOrder::kAny, filler,
                                         ManyWorkers(engine));
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(status)), Contains("/f"));
  CHECK(filler.cancelled());
}

TEST_CASE("any write that fails is the pipeline's error", "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (IoEngineKind engine : kBothEngines) {
      for (int64_t call = 1; call <= kBlocks; ++call) {
        for (FaultEffect effect :
             {FaultEffect::kNone, FaultEffect::kPartial, FaultEffect::kFull}) {
          for (FaultDuration duration :
               {FaultDuration::kOnce, FaultDuration::kFromThenOn}) {
            CheckWriteFault(direct_io, engine,
                            {.call = call,
                             .op = FsOp::kWrite,
                             .error_number = ENOSPC,
                             .duration = duration,
                             .effect = effect});
          }
        }
      }
    }
  }
}

TEST_CASE("any fill that fails stops the writing", "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (int64_t fill = 1; fill <= kBlocks; ++fill) {
      FaultyPlace place(direct_io, {});
      const std::shared_ptr<File> file = MustOpen(
          *place.fs, "/f",
          {.mode = OpenMode::kCreateNew, .direct_io = place.direct_io});
      const FileRegion region{
          .file = file, .begin = 0, .end = kBlocks * kBlock};
      StringFiller filler(
          {{.begin = 0, .bytes = std::string(kBlocks * kBlock, 'x')}});
      filler.FailAt(fill);
      const Status status =
          RunWritePipeline({&region, 1}, WriteOrder::kAny, filler,
                           ManyWorkers(IoEngineKind::kThreads));
      CHECK(Message(status) == "the filler fails");
      CHECK(filler.cancelled());
      // Other workers finish the block they hold; nobody takes a new one.
      CHECK(filler.fills() < fill + 3);
    }
  }
}

/// The last block waits for all earlier ones, as a zip trailer waits for the
/// CRC of its data; one of them fails.
class WaitingFiller final : public BlockFiller {
 public:
  explicit WaitingFiller(int fail_at) : fail_at_(fail_at) {}

  Status Fill(const WriteBlock& block, FillMode, std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    std::unique_lock lock(mutex_);
    const int64_t number = block.byte_offset / kBlock;
    if (number == fail_at_) {
      changed_.wait(lock, [&] { return waiting_ || cancelled_; });
      return Internal("an earlier block fails");
    }
    if (number == kBlocks - 1) {
      waiting_ = true;
      changed_.notify_all();
      changed_.wait(lock, [&] { return done_ == kBlocks - 1 || cancelled_; });
      if (cancelled_) return MakeStatus(absl::StatusCode::kCancelled, "woken");
    }
    ++done_;
    changed_.notify_all();
    slices->push_back({buffer.data(), static_cast<size_t>(block.nbytes)});
    return absl::OkStatus();
  }

  void Cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  const int fail_at_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int done_ = 0;
  bool waiting_ = false;
  bool cancelled_ = false;
};

TEST_CASE("a fill that waits for one that fails is woken", "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (int fail_at = 0; fail_at < kBlocks - 1; ++fail_at) {
      FaultyPlace place(direct_io, {});
      const std::shared_ptr<File> file = MustOpen(
          *place.fs, "/f",
          {.mode = OpenMode::kCreateNew, .direct_io = place.direct_io});
      const FileRegion region{
          .file = file, .begin = 0, .end = kBlocks * kBlock};
      WaitingFiller filler(fail_at);
      const Status status =
          RunWritePipeline({&region, 1}, WriteOrder::kAny, filler,
                           ManyWorkers(IoEngineKind::kThreads));
      CHECK(Message(status) == "an earlier block fails");
    }
  }
}

class FailingConsumer final : public BlockConsumer {
 public:
  explicit FailingConsumer(int64_t fail_at) : fail_at_(fail_at) {}

  bool Place(const ReadBlock&, std::span<std::byte>,
             std::vector<IoSlice>*) override {
    return false;
  }
  Status Consume(const ReadBlock&, std::span<const IoSlice>) override {
    if (++consumed_ == fail_at_) return Internal("the consumer fails");
    return absl::OkStatus();
  }
  int64_t consumed() const { return consumed_; }

 private:
  const int64_t fail_at_;
  std::atomic<int64_t> consumed_{0};
};

Status ReadAllBlocks(const FaultyPlace& place, IoEngineKind engine,
                     FailingConsumer& consumer) {
  auto file = MustOpen(*place.fs, "/f", {.direct_io = place.direct_io});
  std::vector<ReadBlock> blocks;
  for (int64_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(
        {.file = file.get(), .byte_offset = i * kBlock, .nbytes = kBlock});
  }
  return RunReadPipeline(blocks, consumer, ManyWorkers(engine)).status();
}

FaultyPlace PlaceWithFile(DirectIo direct_io) {
  FaultyPlace place(direct_io, {});
  DCP_CHECK_OK(WriteFile(*place.fs, "/f", std::string(kBlocks * kBlock, 'x'),
                         SyncMode::kSync));
  return place;
}

TEST_CASE("any read that fails is the pipeline's error", "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (IoEngineKind engine : kBothEngines) {
      for (FsOp op : {FsOp::kRead, FsOp::kReadCached}) {
        for (int64_t call = 1; call <= kBlocks; ++call) {
          INFO("read " << call);
          const FaultyPlace place = PlaceWithFile(direct_io);
          // Without a cache that knows all, every block is read.
          place.faulty->Restart(
              {.faults = {{.call = call, .op = op}},
               .cached_reads = testing::CachedReads::kRandomlyShort});
          FailingConsumer consumer(0);
          const Status status = ReadAllBlocks(place, engine, consumer);
          const auto detail = GetErrorDetail(status);
          REQUIRE(detail.has_value());
          CHECK(detail->error_number == EIO);
          CHECK(detail->path == "/f");
          CHECK(consumer.consumed() < kBlocks);
        }
      }
    }
  }
}

TEST_CASE("any block that its consumer refuses stops the reading",
          "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (auto cached : {testing::CachedReads::kAsBase,
                        testing::CachedReads::kRandomlyShort}) {
      for (int64_t fail_at = 1; fail_at <= kBlocks; ++fail_at) {
        const FaultyPlace place = PlaceWithFile(direct_io);
        place.faulty->Restart({.cached_reads = cached});
        FailingConsumer consumer(fail_at);
        const Status status =
            ReadAllBlocks(place, IoEngineKind::kThreads, consumer);
        CHECK(Message(status) == "the consumer fails");
      }
    }
  }
}

}  // namespace
}  // namespace dcp
