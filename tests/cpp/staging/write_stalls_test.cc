// Writes that do not return: the pipeline does, and what comes late touches
// nothing that the caller has taken back.

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "conformance/check_files.h"
#include "io/stall.h"
#include "staging/pipeline_cases.h"
#include "staging/write_pipeline.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

using conformance::MustOpen;
using testing::FsOp;
using testing::Gate;

constexpr int64_t kBlock = 65536;
constexpr int64_t kBlocks = 12;
constexpr std::chrono::milliseconds kSoon{50};

/// Fills until it is gone; says so if a late worker still uses it.
class MortalFiller final : public BlockFiller {
 public:
  ~MortalFiller() override { is_gone_ = true; }

  Status Fill(const WriteBlock& block, FillMode, std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    RequireAlive();
    if (cancelled_) return MakeStatus(absl::StatusCode::kCancelled, "late");
    slices->push_back({buffer.data(), static_cast<size_t>(block.nbytes)});
    return absl::OkStatus();
  }
  void Cancel() override {
    RequireAlive();
    cancelled_ = true;
  }

 private:
  void RequireAlive() const {
    if (is_gone_) std::abort();
  }
  std::atomic<bool> is_gone_{false};
  std::atomic<bool> cancelled_{false};
};

void CheckStall(DirectIo direct_io, IoEngineKind engine, int64_t hanging) {
  INFO("write " << hanging << ", direct " << int(direct_io));
  const auto gate = std::make_shared<Gate>();
  const auto writes = std::make_shared<std::atomic<int64_t>>(0);
  const auto faulty = std::make_shared<testing::FaultInjectionFileSystem>(
      MakeMemoryFileSystem(),
      testing::FaultScript{
          .on_call = [=](int64_t, FsOp op, const std::string&) {
            if (op == FsOp::kWrite && ++*writes == hanging) gate->Pass();
          }});
  std::weak_ptr<File> in_use;
  {
    testing::DirectFileSystem fs(faulty);
    const std::shared_ptr<File> file = MustOpen(
        fs, "/f", {.mode = OpenMode::kCreateNew, .direct_io = direct_io});
    in_use = file;
    MortalFiller filler;
    const FileRegion region{.file = file, .begin = 0, .end = kBlocks * kBlock};
    const auto begin = std::chrono::steady_clock::now();
    const Status status =
        RunWritePipeline({&region, 1}, WriteOrder::kAny, filler,
                         {.engine = engine,
                          .workers = 3,
                          .direct_block_nbytes = kBlock,
                          .buffered_block_nbytes = kBlock,
                          .stall_timeout = kSoon});
    const auto elapsed = std::chrono::steady_clock::now() - begin;
    CHECK(IsStall(status));
    CHECK_THAT(std::string(Message(status)), Catch::Contains("pwrite /f"));
    CHECK(elapsed >= kSoon);
    CHECK(elapsed < kSoon + testing::OneSecond());
  }
  CHECK_FALSE(in_use.expired());
  gate->Open();
  while (!in_use.expired()) std::this_thread::yield();
}

TEST_CASE("a write that hangs does not hang the pipeline", "[staging]") {
  for (DirectIo direct_io : {DirectIo::kOff, DirectIo::kTry}) {
    for (IoEngineKind engine : kBothEngines) {
      for (int64_t hanging : {int64_t{1}, int64_t{5}, kBlocks}) {
        CheckStall(direct_io, engine, hanging);
      }
    }
  }
}

TEST_CASE("slow writes are no stall as long as some return", "[staging]") {
  const auto fs = std::make_shared<testing::FaultInjectionFileSystem>(
      MakeMemoryFileSystem(),
      testing::FaultScript{.on_call = [](int64_t, FsOp op, const std::string&) {
        // Time passing is what is tested: all together take longer than kSoon.
        if (op == FsOp::kWrite) std::this_thread::sleep_for(kSoon / 5);
      }});
  const std::shared_ptr<File> file =
      MustOpen(*fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 0, .end = kBlocks * kBlock};
  MortalFiller filler;
  DCP_CHECK_OK(RunWritePipeline(
      {&region, 1}, WriteOrder::kSequential, filler,
      {.workers = 1, .buffered_block_nbytes = kBlock, .stall_timeout = kSoon}));
}

}  // namespace
}  // namespace dcp
