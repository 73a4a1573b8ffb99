#include "storage/data_file.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "conformance/check_files.h"
#include "format/bytes.h"
#include "testing/direct_file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using testing::FaultInjectionFileSystem;
using testing::FsOp;

constexpr Clock::Duration kForEver{0};

WriteItem Item(const std::string& fqn) {
  return {.fqn = fqn, .type = WriteItemType::kByteIo};
}

TEST_CASE("padding is cut off, and results and record tell what is where",
          "[storage]") {
  auto memory = MakeMemoryFileSystem();
  WatchedFileSystem fs(std::make_shared<testing::DirectFileSystem>(memory),
                       kForEver);
  auto file = DataFile::Create(fs, "/", "__0_0.distcp", DirectIo::kTry);
  REQUIRE(file.ok());
  const std::string bytes = conformance::RandomBytes(1, 8192);
  DCP_CHECK_OK(conformance::WriteAt((*file)->file(), 0, bytes));
  (*file)->checksums().Add(0, 5000, Crc32(0, AsBytes(bytes.substr(0, 5000))));
  const WriteItem a = Item("a");
  const WriteItem b = Item("b");
  (*file)->SetTransforms({"stream.zstd/1"});
  (*file)->AddItem(a, {.offset = 0, .length = 100});
  (*file)->AddItem(
      b,
      {.offset = 128, .length = 4872, .data_offset = 64, .data_nbytes = 100});
  CHECK((*file)->end() == 5000);
  DCP_CHECK_OK((*file)->Finish(SyncMode::kSync));
  CHECK(conformance::MustReadFile(fs, "/__0_0.distcp") ==
        bytes.substr(0, 5000));

  std::vector<WriteResult> results;
  SidecarFile record;
  (*file)->TakeResults(&results, &record);
  REQUIRE(results.size() == 2);
  CHECK(results[0].storage_info.length == 100);
  CHECK(results[1].index.fqn == "b");
  CHECK(results[1].size_in_bytes == 4872);
  CHECK(results[1].storage_info ==
        StorageInfo{.relative_path = "__0_0.distcp",
                    .offset = 128,
                    .length = 4872,
                    .transform_descriptors = {"stream.zstd/1"}});
  CHECK(record.name == "__0_0.distcp");
  CHECK(record.nbytes == 5000);
  CHECK(record.items.size() == 2);
  CHECK(record.block_crcs ==
        std::vector<uint32_t>{Crc32(0, AsBytes(bytes.substr(0, 5000)))});
}

TEST_CASE("a name that is taken is refused", "[storage]") {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(WriteFile(*fs, "/__0_0.distcp", "precious", SyncMode::kNone));
  WatchedFileSystem watched(fs, kForEver);
  const auto file =
      DataFile::Create(watched, "/", "__0_0.distcp", DirectIo::kOff);
  CHECK(file.status().code() == absl::StatusCode::kAlreadyExists);
  CHECK(conformance::MustReadFile(*fs, "/__0_0.distcp") == "precious");
}

TEST_CASE("what truncate, sync or close report is not lost", "[storage]") {
  for (FsOp op : {FsOp::kTruncate, FsOp::kSync, FsOp::kClose}) {
    auto faulty = std::make_shared<FaultInjectionFileSystem>(
        MakeMemoryFileSystem(),
        testing::FaultScript{.faults = {{.op = op, .error_number = EDQUOT}}});
    WatchedFileSystem fs(std::make_shared<testing::DirectFileSystem>(faulty),
                         kForEver);
    auto file = DataFile::Create(fs, "/", "f", DirectIo::kTry);
    REQUIRE(file.ok());
    const Status status = (*file)->Finish(SyncMode::kSync);
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  }
}

TEST_CASE("a file is synced once if asked, else not at all", "[storage]") {
  for (SyncMode sync : {SyncMode::kSync, SyncMode::kNone}) {
    auto faulty =
        std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
    WatchedFileSystem fs(faulty, kForEver);
    auto file = DataFile::Create(fs, "/", "f", DirectIo::kOff);
    REQUIRE(file.ok());
    DCP_CHECK_OK((*file)->Finish(sync));
    const auto log = faulty->log();
    CHECK(std::count(log.begin(), log.end(),
                     testing::FsCall{FsOp::kSync, "/f"}) ==
          (sync == SyncMode::kSync ? 1 : 0));
  }
}

}  // namespace
}  // namespace dcp
