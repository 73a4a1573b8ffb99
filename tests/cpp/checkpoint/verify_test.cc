// Verify: what it says of checkpoints that are whole, and of files that cannot
// be read.

#include "dcp/verify.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/rank_threads.h"
#include "checkpoint/verify_testing.h"
#include "format/golden.h"
#include "format/sidecar.h"
#include "testing/direct_file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::State;
using conformance::Wanted;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

TEST_CASE("a whole checkpoint has no damage, whoever wrote it, however",
          "[checkpoint][verify]") {
  const State state = MixedState();
  const bool stock = GENERATE(false, true);
  const bool zstd = GENERATE(false, true);
  auto fs = zstd ? SavedCompressed(state, stock)
                 : (stock ? SavedAsStock(state) : Saved(state, {}));
  const auto report = VerifyStored(fs);
  DCP_CHECK_OK(report.status());
  REQUIRE(report.ok());
  CHECK(Describe(report->damages).empty());
  CHECK(report->is_ours == !stock);
  CHECK(report->save_id == ReadMetadata(*fs).storage_meta->save_id);
  CHECK(report->files == 2);
  CHECK(report->tensors == 4);
  CHECK(report->objects == 1);
  int64_t stored = 0;
  for (const auto& [index, info] : ReadMetadata(*fs).storage_data) {
    stored += info.length;
  }
  CHECK(report->nbytes >= stored);
}

TEST_CASE("what is read past the page cache is checked just so",
          "[checkpoint][verify]") {
  const State state = MixedState();
  const bool stock = GENERATE(false, true);
  auto plain = stock ? SavedAsStock(state) : Saved(state, {});
  const auto direct = std::make_shared<testing::DirectFileSystem>(plain);
  CHECK(Describe(DamagesIn(direct)).empty());
  for (const std::string& path : FilesOf(*plain, "__")) {
    FlipBit(*plain, path, GetFile(*plain, path).size() / 2, 1);
    CHECK_FALSE(KeysIn(DamagesIn(direct), path).empty());
  }
}

TEST_CASE("every checkpoint that a version of torch wrote is whole",
          "[checkpoint][verify]") {
  int checked = 0;
  for (const std::filesystem::path& path : GoldenCheckpoints()) {
    const std::string version = path.parent_path().filename();
    const bool has_data = path.filename() != "many_keys";
    const bool is_checkpoint = path.filename() != "zip64_ends";
    if (!has_data || !is_checkpoint || version.starts_with("torch-1.12")) {
      continue;
    }
    INFO(path);
    const auto report = Verify(path.string());
    DCP_CHECK_OK(report.status());
    REQUIRE(report.ok());
    CHECK(Describe(report->damages).empty());
    CHECK_FALSE(report->is_ours);
    CHECK(report->tensors + report->objects > 0);
    ++checked;
  }
  CHECK(checked > 30);
}

TEST_CASE("no call of a file system fails unnoticed", "[checkpoint][verify]") {
  const bool stock = GENERATE(false, true);
  const int error = GENERATE(EIO, EACCES);
  auto base = stock ? SavedAsStock(MixedState()) : Saved(MixedState(), {});
  int reports = 0;
  for (int64_t n = 1;; ++n) {
    INFO("call " << n << (stock ? ", stock" : ", ours"));
    auto fs = std::make_shared<FaultInjectionFileSystem>(base);
    fs->Restart({.faults = {{.call = n, .error_number = error}}});
    const auto report = VerifyStored(fs);
    if (fs->calls() < n) break;
    // What was read through a file that does not close well was read.
    const FsOp op = fs->log()[static_cast<size_t>(n) - 1].op;
    if (!report.ok() || op == FsOp::kClose) continue;
    REQUIRE_FALSE(report->damages.empty());
    ++reports;
  }
  CHECK(reports > 10);
}

TEST_CASE("a checkpoint that is replaced while it is checked is not damaged",
          "[checkpoint][verify]") {
  const size_t min_indexed_items = GENERATE(size_t{1}, kMinIndexedItems);
  int64_t n = 1;
  for (bool is_replaced = true; is_replaced; ++n) {
    const auto fs =
        std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
    NativePlace place{.fs = fs, .min_indexed_items = min_indexed_items};
    place.writer.io = ModestIo(IoEngineKind::kThreads);
    const auto save = [&] {
      const State state = conformance::SmallState(static_cast<uint64_t>(n));
      DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                         conformance::ShardedState(state, 2)));
    };
    save();
    std::atomic<bool> has_saved{false};
    fs->Restart({.on_call = [&](int64_t call, FsOp, const std::string&) {
      if (call >= n && !has_saved.exchange(true)) save();
    }});
    INFO("before call " << n);
    CHECK(Describe(DamagesIn(fs)).empty());
    is_replaced = has_saved;
  }
  CHECK(n > 10);
}

TEST_CASE("a file that cannot be read does not hide damage in others",
          "[checkpoint][verify]") {
  auto base = Saved(MixedState(), {});
  const auto files = FilesOf(*base, "__");
  FlipBit(*base, files[1], 70'000, 2);
  auto fs = std::make_shared<FaultInjectionFileSystem>(base);
  REQUIRE(VerifyStored(fs).ok());
  const auto log = fs->log();
  const auto open =
      std::find(log.begin(), log.end(), testing::FsCall{FsOp::kOpen, files[0]});
  REQUIRE(open != log.end());
  fs->Restart(
      {.faults = {{.call = open - log.begin() + 1, .error_number = EACCES}}});
  const auto report = VerifyStored(fs);
  REQUIRE(report.ok());
  INFO(Describe(report->damages));
  CHECK_FALSE(KeysIn(report->damages, files[0]).empty());
  CHECK_THAT(report->damages[0].message, Contains("Permission denied"));
  CHECK_FALSE(KeysIn(report->damages, files[1]).empty());
}

TEST_CASE("more files than may be open at once are all checked",
          "[checkpoint][verify]") {
  State state;
  for (int i = 0; i < 200; ++i) {
    state.tensors["t" + std::to_string(i)] = conformance::RandomTensor(
        static_cast<uint64_t>(i), DType::kInt8, {100});
  }
  auto fs = Saved(state, {.single_file_per_rank = false});
  const auto report = VerifyStored(fs);
  REQUIRE(report.ok());
  CHECK(Describe(report->damages).empty());
  CHECK(report->files == static_cast<int64_t>(FilesOf(*fs, "__").size()));
  CHECK(report->files >= 200);
  const std::string last = FilesOf(*fs, "__").back();
  FlipBit(*fs, last, 200, 1);
  CHECK_FALSE(KeysIn(DamagesIn(fs), last).empty());
}

TEST_CASE("checkpoints with metadata of every rank's own are checked whole",
          "[checkpoint][verify]") {
  const State state = MixedState();
  auto fs = MakeMemoryFileSystem();
  NativePlace place{.fs = fs};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  RequireAllSucceed(SaveOnRanks(Sharded(state, 2), NativeStorage(place),
                                {.use_collectives = false}));
  const auto report = VerifyStored(fs);
  REQUIRE(report.ok());
  CHECK(Describe(report->damages).empty());
  CHECK(report->is_ours);
  CHECK(report->files == 2);
  for (const std::string& path : FilesOf(*fs, "__")) {
    const std::string good = GetFile(*fs, path);
    FlipBit(*fs, path, good.size() / 3, 4);
    CHECK_FALSE(KeysIn(DamagesIn(fs), path).empty());
    PutFile(*fs, path, good);
  }
}

TEST_CASE("a directory without a checkpoint is not found",
          "[checkpoint][verify]") {
  auto fs = MakeMemoryFileSystem();
  CHECK(VerifyStored(fs).status().code() == absl::StatusCode::kNotFound);
  DCP_CHECK_OK(fs->MakeDirectories("/ckpt"));
  PutFile(*fs, "/ckpt/__0_0.distcp", "data that nobody published");
  const auto report = VerifyStored(fs);
  CHECK(report.status().code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(Message(report.status())), Contains("/ckpt"));
}

TEST_CASE("files that are not part of the checkpoint do not matter",
          "[checkpoint][verify]") {
  const bool stock = GENERATE(false, true);
  auto fs = stock ? SavedAsStock(MixedState()) : Saved(MixedState(), {});
  PutFile(*fs, "/ckpt/config.json", "{}");
  PutFile(*fs, "/ckpt/__7_7.distcp", "left by a save that was killed");
  PutFile(*fs, "/ckpt/.dcpcpp-00", "not a sidecar");
  PutFile(*fs, "/ckpt/.dcpcpp-01",
          GetFile(*Saved(MixedState(), {}), "/ckpt/.metadata"));
  CHECK(Describe(DamagesIn(fs)).empty());
}

}  // namespace
}  // namespace dcp
