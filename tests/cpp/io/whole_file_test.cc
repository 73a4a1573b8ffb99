#include <catch2/catch.hpp>
#include <cerrno>

#include "dcp/file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using testing::FaultEffect;
using testing::FaultInjectionFileSystem;
using testing::FsCall;
using testing::FsOp;

TEST_CASE("a synced file is written, synced and closed, in this order",
          "[whole_file]") {
  FaultInjectionFileSystem fs(MakeMemoryFileSystem());
  REQUIRE(WriteFile(fs, "/f", "content", SyncMode::kSync).ok());
  CHECK(fs.log() == std::vector<FsCall>{{FsOp::kOpen, "/f"},
                                        {FsOp::kWrite, "/f"},
                                        {FsOp::kSync, "/f"},
                                        {FsOp::kClose, "/f"}});
  REQUIRE(fs.SyncDirectory("/").ok());
  CHECK(ReadFile(*fs.AfterReboot(), "/f", 100, {}).value() == "content");
}

TEST_CASE("no failing call of a write goes unnoticed, and none leaves a file",
          "[whole_file]") {
  const int error =
      GENERATE(EIO, ENOSPC, EDQUOT, EINTR, EAGAIN, ESTALE, EROFS, ENOMEM);
  const auto effect =
      GENERATE(FaultEffect::kNone, FaultEffect::kPartial, FaultEffect::kFull);
  for (int64_t call = 1; call <= 4; ++call) {
    INFO("call " << call << " fails with errno " << error);
    FaultInjectionFileSystem fs(
        MakeMemoryFileSystem(),
        {.faults = {{.call = call, .error_number = error, .effect = effect}}});
    const Status status = WriteFile(fs, "/f", "content", SyncMode::kSync);
    REQUIRE_FALSE(status.ok());
    const auto detail = GetErrorDetail(status);
    REQUIRE(detail.has_value());
    CHECK(detail->error_number == error);
    CHECK(detail->path == "/f");
    const bool opened = call > 1;
    if (opened) CHECK_FALSE(fs.Exists("/f").value());
  }
}

TEST_CASE("no failing call of a read goes unnoticed", "[whole_file]") {
  const auto effect =
      GENERATE(FaultEffect::kNone, FaultEffect::kPartial, FaultEffect::kFull);
  auto memory = MakeMemoryFileSystem();
  REQUIRE(WriteFile(*memory, "/f", "content", SyncMode::kNone).ok());
  int64_t calls = 0;
  {
    FaultInjectionFileSystem fs(memory);
    REQUIRE(ReadFile(fs, "/f", 100, {}).value() == "content");
    calls = fs.calls();
  }
  for (int64_t call = 1; call <= calls; ++call) {
    FaultInjectionFileSystem fs(memory,
                                {.faults = {{.call = call, .effect = effect}}});
    const auto content = ReadFile(fs, "/f", 100, {});
    INFO("call " << call);
    REQUIRE_FALSE(content.ok());
    CHECK(GetErrorDetail(content.status())->error_number == EIO);
  }
}

}  // namespace
}  // namespace dcp
