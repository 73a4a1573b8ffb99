// Verify, of files of torch.save.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/verify_testing.h"
#include "dcp/torch_file_storage.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using conformance::StorageUnderTest;
using conformance::WholeState;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

const std::string kPath = "/m.pt";

/// Tensors of less and of more than a mebibyte in kPath.
std::shared_ptr<FileSystem> SavedFile() {
  auto fs = MakeMemoryFileSystem();
  State state = MixedState();
  state.objects.clear();
  const StorageUnderTest file = {
      .make_writer =
          [&fs] {
            return MakeTorchFileWriter(
                {.path = kPath, .io = ModestIo(IoEngineKind::kThreads)},
                {.file_system = fs});
          },
      .make_reader =
          [&fs] {
            return MakeTorchFileReader({.path = kPath}, {.file_system = fs});
          }};
  DCP_CHECK_OK(conformance::SaveRun(file, state, WholeState(state)).Run());
  return fs;
}

/// Where the tensor `fqn` lies.
StorageInfo PlaceOf(std::shared_ptr<FileSystem> fs, const std::string& fqn) {
  const auto index =
      MakeTorchFileReader({.path = kPath}, {.file_system = std::move(fs)})
          ->ReadIndex();
  for (const auto& [key, info] : index.value().metadata.storage_data) {
    if (key.fqn == fqn) return info;
  }
  FAIL("no tensor " << fqn);
  return {};
}

VerifyReport ReportOf(std::shared_ptr<FileSystem> fs) {
  auto report = VerifyStored(std::move(fs), kPath);
  CAPTURE(Message(report.status()));
  REQUIRE(report.ok());
  return *std::move(report);
}

TEST_CASE("a whole torch file has no damage",
          "[checkpoint][verify][torch_file]") {
  const auto fs = SavedFile();
  const VerifyReport report = ReportOf(fs);
  CHECK(Describe(report.damages).empty());
  CHECK(report.format == CheckpointFormat::kTorch);
  CHECK_FALSE(report.is_ours);
  CHECK(report.files == 1);
  CHECK(report.tensors == 4);
  CHECK(report.objects == 0);
  CHECK(report.nbytes > 1200 * 801 * 4 + 300 * 401 * 2);
  CHECK(report.nbytes < std::ssize(GetFile(*fs, kPath)));
}

TEST_CASE("a flipped bit of a torch file is damage to its tensor",
          "[checkpoint][verify][torch_file]") {
  const auto fs = SavedFile();
  const std::string fqn = GENERATE("small", "middle", "large", "flag");
  const StorageInfo place = PlaceOf(fs, fqn);
  for (const int64_t at : {int64_t{0}, place.length / 2, place.length - 1}) {
    FlipBit(*fs, kPath, static_cast<size_t>(place.offset + at), 3);
    const VerifyReport report = ReportOf(fs);
    REQUIRE(report.damages.size() == 1);
    const Damage& damage = report.damages[0];
    CHECK(damage.fqn == fqn);
    CHECK(damage.path == kPath);
    CHECK(damage.byte_offset == place.offset);
    CHECK(damage.nbytes == place.length);
    CHECK_THAT(damage.message, Contains("does not match its CRC-32"));
    FlipBit(*fs, kPath, static_cast<size_t>(place.offset + at), 3);
  }
}

TEST_CASE("all damage of a torch file is reported",
          "[checkpoint][verify][torch_file]") {
  const auto fs = SavedFile();
  for (const std::string fqn : {"small", "large"}) {
    FlipBit(*fs, kPath, static_cast<size_t>(PlaceOf(fs, fqn).offset), 0);
  }
  CHECK(KeysIn(ReportOf(fs).damages, kPath) ==
        std::set<std::string>{"small", "large"});
}

TEST_CASE("a torch file that cannot be made out is damaged, not more",
          "[checkpoint][verify][torch_file]") {
  const auto fs = SavedFile();
  const std::string good = GetFile(*fs, kPath);
  SECTION("the pickle") {
    const size_t pickle = good.find("data.pkl") + 200;
    FlipBit(*fs, kPath, pickle, 1);
    const VerifyReport report = ReportOf(fs);
    REQUIRE(report.damages.size() == 1);
    CHECK_THAT(report.damages[0].message, Contains("data.pkl does not match"));
  }
  SECTION("the end is missing") {
    for (const size_t n : {size_t{10}, good.size() / 2, good.size() - 1}) {
      PutFile(*fs, kPath, good.substr(0, n));
      CHECK(ReportOf(fs).damages.size() == 1);
    }
  }
}

TEST_CASE("what torch.save did not write is not verified",
          "[checkpoint][verify][torch_file]") {
  const auto fs = SavedFile();
  PutFile(*fs, kPath, "of some other program");
  const auto report = VerifyStored(fs, kPath);
  CHECK(report.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("no call on a torch file fails unnoticed",
          "[checkpoint][verify][torch_file]") {
  const auto base = SavedFile();
  int reports = 0;
  for (int64_t n = 1;; ++n) {
    INFO("call " << n);
    auto fs = std::make_shared<FaultInjectionFileSystem>(base);
    fs->Restart({.faults = {{.call = n}}});
    const auto report = VerifyStored(fs, kPath);
    if (fs->calls() < n) break;
    const FsOp op = fs->log()[static_cast<size_t>(n) - 1].op;
    if (!report.ok() || op == FsOp::kClose) continue;
    REQUIRE_FALSE(report->damages.empty());
    ++reports;
  }
  CHECK(reports > 0);
}

}  // namespace
}  // namespace dcp
