#include "raw_device.h"

#include <catch2/catch.hpp>

#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp::benchmarks {
namespace {

RawDeviceOptions SmallOptions(const std::string& directory) {
  return {.directory = directory,
          .nbytes = 1 << 20,
          .files = 2,
          .block_nbytes = 1 << 16,
          .engine = {.queue_depth = 3}};
}

TEST_CASE("a raw measurement moves every block and cleans up", "[raw_device]") {
  const testing::TempDirectory directory;
  const auto fs = MakePosixFileSystem();
  RawDeviceOptions options = SmallOptions(directory.path());
  options.registration =
      GENERATE(BufferRegistration::kNone, BufferRegistration::kTry);
  const auto written = WriteRaw(*fs, options);
  INFO(Message(written.status()));
  REQUIRE(written.ok());
  CHECK(written->seconds > 0);
  CHECK(written->sync_seconds <= written->seconds);
  CHECK(WriteRaw(*fs, options).status().code() ==
        absl::StatusCode::kAlreadyExists);
  const auto read = ReadRaw(*fs, options);
  INFO(Message(read.status()));
  REQUIRE(read.ok());
  CHECK(read->engine == written->engine);
  REQUIRE(RemoveRaw(*fs, options).ok());
  CHECK(fs->List(directory.path())->empty());
}

TEST_CASE("a raw measurement of any size says how much it moved",
          "[raw_device]") {
  struct Case {
    int64_t nbytes;
    int files;
    int64_t moved;
  };
  const Case sizes = GENERATE(Case{(1 << 20) + 4097, 2, 1 << 20},
                              Case{3 << 16, 2, 2 << 16},  // one block each
                              Case{20000, 1, 16384},      // less than a block
                              Case{4096, 1, 4096});
  const auto memory = MakeMemoryFileSystem();
  RawDeviceOptions options = SmallOptions("/");
  options.nbytes = sizes.nbytes;
  options.files = sizes.files;
  CHECK(WriteRaw(*memory, options).value().nbytes == sizes.moved);
  CHECK(ReadRaw(*memory, options).value().nbytes == sizes.moved);
  int64_t stored = 0;
  for (int i = 0; i < sizes.files; ++i) {
    const auto file = memory->Open("/raw-" + std::to_string(i), {}).value();
    stored += file->Size().value();
  }
  CHECK(stored == sizes.moved);
  options.nbytes = options.files * 4095;
  CHECK(WriteRaw(*memory, options).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a raw measurement checks what it reads", "[raw_device]") {
  auto memory = MakeMemoryFileSystem();
  const RawDeviceOptions options = SmallOptions("/");
  REQUIRE(WriteRaw(*memory, options).ok());
  REQUIRE(memory->Rename("/raw-1", "/raw-0").ok());
  REQUIRE(
      WriteFile(*memory, "/raw-1", std::string(1 << 19, 'x'), SyncMode::kNone)
          .ok());
  CHECK(ReadRaw(*memory, options).status().code() ==
        absl::StatusCode::kDataLoss);
}

TEST_CASE("a raw measurement reads files that others wrote", "[raw_device]") {
  auto memory = MakeMemoryFileSystem();
  for (const char* path : {"/a", "/b"}) {
    REQUIRE(WriteFile(*memory, path, std::string(5 << 15, 'x'), SyncMode::kNone)
                .ok());
  }
  RawDeviceOptions options = SmallOptions("/");
  options.names = {"a", "b"};
  options.nbytes = 2 * (5 << 15);
  CHECK(ReadRaw(*memory, options).value().nbytes == 4 << 16);
  options.names = {"a", "c"};
  CHECK(GetErrorDetail(ReadRaw(*memory, options).status())->path == "/c");
}

TEST_CASE("a raw measurement counts the sync, and its failure",
          "[raw_device]") {
  using testing::FsOp;
  testing::FaultInjectionFileSystem fs(
      MakeMemoryFileSystem(), {.faults = {{.call = 2, .op = FsOp::kSync}}});
  RawDeviceOptions options = SmallOptions("/");
  const Status status = WriteRaw(fs, options).status();
  CHECK(GetErrorDetail(status)->path == "/raw-1");
  options.nbytes = 1;
  CHECK(WriteRaw(fs, options).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp::benchmarks
