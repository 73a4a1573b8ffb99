// What a forked child may not do with its parent's engine. The child reports by
// its exit code: Catch2 is the parent's.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "conformance/bytes.h"
#include "dcp/io_engine.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

constexpr int kGood = 42;

/// Runs `child` in a forked process; returns whether it returned true.
template <typename Child>
bool SucceedsInChild(const Child& child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child() ? kGood : 1);
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == kGood;
}

bool Refuses(const Status& status) {
  return status.code() == absl::StatusCode::kFailedPrecondition &&
         Message(status).find("forked") != std::string_view::npos;
}

TEST_CASE("a forked child is told to make its own engine", "[fork]") {
  const int threads = GENERATE(-1, 0, 2);  // -1: whatever is chosen here
  IoEngineOptions options{.queue_depth = 4};
  if (threads >= 0) {
    options.kind = IoEngineKind::kThreads;
    options.threads = threads;
  }
  const testing::TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  auto fs = MakePosixFileSystem();
  auto file = fs->Open(path, {.mode = OpenMode::kCreateNew}).value();
  auto engine = MakeIoEngine(options).value();
  const std::string expected = conformance::RandomBytes(1, 1 << 20);
  std::string bytes = expected;
  const IoSlice slice = conformance::SliceOf(bytes);
  const IoRequest request{
      .op = IoOp::kWrite, .file = file.get(), .slices = {&slice, 1}, .tag = 7};
  REQUIRE(engine->Submit(request).ok());

  CHECK(SucceedsInChild([&] {
    const bool refuses =
        Refuses(engine->Submit(request)) && Refuses(engine->Wait().status()) &&
        Refuses(engine->Poll().status()) && !engine->RegisterBuffer(slice);
    engine.reset();  // must neither hang nor take the parent's completion
    return refuses;
  }));

  const auto completion = engine->Wait();
  REQUIRE(completion.ok());
  CHECK(completion->tag == 7);
  CHECK(completion->status.ok());
  REQUIRE(file->Close().ok());
  CHECK((ReadFile(*fs, path, 1 << 20, {}).value() == expected));
}

TEST_CASE("a forked child's own engine works", "[fork]") {
  const testing::TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  auto fs = MakePosixFileSystem();
  const auto parents = MakeIoEngine({}).value();
  CHECK(SucceedsInChild([&] {
    auto file = fs->Open(path, {.mode = OpenMode::kCreateNew}).value();
    auto engine = MakeIoEngine({.threads = 0}).value();
    std::string bytes = "from the child";
    const IoSlice slice = conformance::SliceOf(bytes);
    return engine
               ->Submit({.op = IoOp::kWrite,
                         .file = file.get(),
                         .slices = {&slice, 1}})
               .ok() &&
           engine->Wait()->status.ok() && file->Close().ok();
  }));
  CHECK(ReadFile(*fs, path, 100, {}).value() == "from the child");
}

}  // namespace
}  // namespace dcp
