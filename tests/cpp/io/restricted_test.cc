// The same promises where the system forbids what is normally used: io_uring by
// a seccomp filter, openat2, or locked memory. restricted_main.cc puts the
// restriction in force, for as long as the process lives.

#include <catch2/catch.hpp>
#include <iostream>

#include "conformance/file_system_conformance.h"
#include "io/engine_files.h"
#include "io/uring_io_engine.h"

namespace dcp {
namespace {

std::unique_ptr<IoEngine> MakeAny(int queue_depth) {
  return MakeIoEngine({.queue_depth = queue_depth}).value();
}

TEST_CASE("without io_uring, threads do the work and say why",
          "[R25][no-setup][no-uring][no-enter]") {
  const auto choice = SelectIoEngine(IoEngineKind::kAuto);
  REQUIRE(choice.ok());
  CHECK(choice->kind == IoEngineKind::kThreads);
  INFO(choice->reason);
  CHECK_THAT(choice->reason, Catch::Contains("io_uring"));
  CHECK_THAT(choice->reason, Catch::Contains("Operation not permitted") ||
                                 Catch::Contains("not implemented"));
  const auto forced = MakeIoEngine({.kind = IoEngineKind::kUring});
  CHECK(forced.status().code() == absl::StatusCode::kUnimplemented);
  CHECK(MakeAny(4)->name() == "threads");
  testing::CheckEngineOnDisk(MakeAny);
}

TEST_CASE("who forbids io_uring is named", "[R25][no-setup]") {
  CHECK_THAT(SelectIoEngine(IoEngineKind::kAuto)->reason,
             Catch::Contains("seccomp") ||
                 Catch::Contains("kernel.io_uring_disabled="));
}

TEST_CASE("without openat2, names are resolved as safely",
          "[R25][no-openat2]") {
  const testing::TempDirectory directory;
  conformance::CheckFileSystem([&] {
    return conformance::FileSystemUnderTest{MakePosixFileSystem(),
                                            directory.path()};
  });
}

TEST_CASE("without locked memory, buffers are used unregistered",
          "[R25][low-memlock]") {
  auto engine = MakeUringIoEngine(4);
  if (!engine.ok()) {
    std::cerr << "SKIP (1 case): " << Message(engine.status()) << "\n";
    return;
  }
  constexpr size_t kNbytes = 1 << 20;
  std::string bytes(kNbytes, 'x');
  const IoSlice slice = conformance::SliceOf(bytes);
  CHECK_FALSE((*engine)->RegisterBuffer(slice));
  testing::CheckEngineOnDisk(
      [](int queue_depth) { return MakeUringIoEngine(queue_depth).value(); });
}

}  // namespace
}  // namespace dcp
