#include "io/uring_io_engine.h"

#include <catch2/catch.hpp>
#include <iostream>

#include "io/engine_files.h"
#include "io/ring_io_engine.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

/// Says loudly when io_uring is not tested.
bool HasUring() {
  const Status status = ProbeUring();
  if (status.ok()) return true;
  std::cerr << "SKIP (1 case): io_uring does not work here: " << Message(status)
            << "\n";
  return false;
}

std::unique_ptr<IoEngine> Uring(int queue_depth) {
  return MakeUringIoEngine(queue_depth).value();
}

TEST_CASE("the io_uring engine conforms on disk", "[uring][conformance]") {
  if (HasUring()) testing::CheckEngineOnDisk(Uring);
}

TEST_CASE("the io_uring engine conforms in memory", "[uring][conformance]") {
  if (HasUring()) testing::CheckEngineInMemory(Uring);
}

TEST_CASE("io_uring transfers from registered buffers", "[uring]") {
  if (!HasUring()) return;
  constexpr size_t kBlock = 1 << 16;
  constexpr size_t kBlocks = 8;
  const testing::TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  const std::string expected = conformance::RandomBytes(1, kBlock * kBlocks);
  conformance::AlignedBytes memory(expected.size());
  memory.Fill(expected);
  auto engine = Uring(kBlocks);
  const IoSlice all = memory.slice();
  // The limit of locked memory that most systems have is more than this.
  CHECK(engine->RegisterBuffer(all));
  const auto direct = GENERATE(DirectIo::kOff, DirectIo::kTry);
  auto file =
      MakePosixFileSystem()
          ->Open(path, {.mode = OpenMode::kCreateNew, .direct_io = direct})
          .value();
  std::vector<IoSlice> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back({memory.data() + i * kBlock, kBlock});
  }
  for (size_t i = 0; i < kBlocks; ++i) {
    REQUIRE(engine
                ->Submit({.op = IoOp::kWrite,
                          .file = file.get(),
                          .byte_offset = static_cast<int64_t>(i * kBlock),
                          .slices = {&blocks[i], 1}})
                .ok());
  }
  for (size_t i = 0; i < kBlocks; ++i) CHECK(engine->Wait()->status.ok());
  CHECK((conformance::MustReadFile(*MakePosixFileSystem(), path) == expected));
}

TEST_CASE("a completion queue that overflows loses nothing",
          "[uring][conformance][R25]") {
  const std::string trial = "tiny CQ: more in flight than events have room";
  if (const Status status = ProbeUring(); !status.ok()) {
    testing::ReportSkipped("R25", trial, std::string(Message(status)));
    return;
  }
  testing::CheckEngineOnDisk([](int queue_depth) {
    return std::make_unique<RingIoEngine>(MakeKernelRing(1).value(),
                                          queue_depth);
  });
  testing::Report({.row = "R25", .trial = trial, .count = 1});
}

TEST_CASE("a closed file is refused, not its descriptor's next owner",
          "[uring]") {
  if (!HasUring()) return;
  const testing::TempDirectory directory;
  auto fs = MakePosixFileSystem();
  auto file = conformance::MustCreate(*fs, JoinPath(directory.path(), "f"));
  REQUIRE(file->Close().ok());
  auto engine = Uring(1);
  std::string bytes = "bytes";
  const IoSlice slice = conformance::SliceOf(bytes);
  REQUIRE(
      engine
          ->Submit(
              {.op = IoOp::kWrite, .file = file.get(), .slices = {&slice, 1}})
          .ok());
  CHECK(engine->Wait()->status.code() == absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dcp
