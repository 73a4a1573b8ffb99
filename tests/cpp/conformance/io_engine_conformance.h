// What every IoEngine must do; include this, and call it from a test case:
//
//   TEST_CASE("my engine conforms", "[my][conformance]") {
//     dcp::conformance::CheckIoEngine([] {
//       return dcp::conformance::IoEngineUnderTest{
//           .make = [](int queue_depth) { return MakeMine(queue_depth); },
//           .files = {MakePosixFileSystem(), "/scratch"}};
//     });
//   }
//
// Needs Catch2 v2 and dcp/ headers, nothing else of this project.

#ifndef DCP_TESTS_CONFORMANCE_IO_ENGINE_CONFORMANCE_H_
#define DCP_TESTS_CONFORMANCE_IO_ENGINE_CONFORMANCE_H_

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "conformance/random_transfers.h"

namespace dcp::conformance {

/// Called once per section.
using IoEngineFactory = std::function<IoEngineUnderTest()>;

/// Waits for everything in flight; statuses by tag, each tag once.
inline std::map<uint64_t, Status> Drain(IoEngine& engine, size_t count) {
  std::map<uint64_t, Status> statuses;
  for (size_t i = 0; i < count; ++i) {
    auto completion = engine.Wait();
    INFO(Message(completion.status()));
    REQUIRE(completion.ok());
    CHECK(statuses.emplace(completion->tag, completion->status).second);
  }
  return statuses;
}

/// Requests that direct I/O cannot take, on a file that has it.
inline void CheckUnalignedTransfers(const IoEngineUnderTest& under_test) {
  FileSystem& fs = *under_test.files.fs;
  const std::string path = JoinPath(under_test.files.directory, "unaligned");
  std::string expected = RandomBytes(13, 100001);
  auto engine = under_test.make(4);
  auto file = MustOpen(
      fs, path, {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kTry});
  const IoSlice all = SliceOf(expected);
  const std::vector<IoSlice> parts = {
      {all.data, 33}, {all.data + 33, 60000}, {all.data + 60033, 39968}};
  DCP_CHECK_OK(engine->Submit(
      {.op = IoOp::kWrite, .file = file.get(), .slices = parts, .tag = 1}));
  DCP_CHECK_OK(Drain(*engine, 1).at(1));
  DCP_CHECK_OK(file->Close());
  CHECK((MustReadFile(fs, path) == expected));

  file = MustOpen(fs, path, {.direct_io = DirectIo::kTry});
  std::string tail(95001, '?');
  const IoSlice slice = SliceOf(tail);
  DCP_CHECK_OK(engine->Submit({.file = file.get(),
                               .byte_offset = 5000,
                               .slices = {&slice, 1},
                               .tag = 2}));
  DCP_CHECK_OK(Drain(*engine, 1).at(2));
  CHECK((tail == expected.substr(5000)));
}

inline void CheckManySlicesInFlight(const IoEngineUnderTest& under_test) {
  const std::string path = JoinPath(under_test.files.directory, "slices");
  std::string expected = RandomBytes(14, 15000);
  std::vector<IoSlice> slices;
  for (size_t i = 0; i < expected.size(); i += 5) {
    slices.push_back({SliceOf(expected).data + i, 5});
  }
  auto engine = under_test.make(1);
  auto file = MustCreate(*under_test.files.fs, path);
  DCP_CHECK_OK(engine->Submit(
      {.op = IoOp::kWrite, .file = file.get(), .slices = slices, .tag = 3}));
  DCP_CHECK_OK(Drain(*engine, 1).at(3));
  DCP_CHECK_OK(file->Close());
  CHECK((MustReadFile(*under_test.files.fs, path) == expected));
}

inline void CheckQueueDepth(const IoEngineUnderTest& under_test) {
  auto engine = under_test.make(2);
  CHECK(engine->queue_depth() == 2);
  CHECK_FALSE(engine->name().empty());
  CHECK(engine->Wait().status().code() ==
        absl::StatusCode::kFailedPrecondition);
  CHECK(engine->Poll().value() == std::nullopt);
  auto file = MustCreate(*under_test.files.fs,
                         JoinPath(under_test.files.directory, "depth"));
  const auto submit = [&](uint64_t tag) {
    return engine->Submit({.op = IoOp::kWrite, .file = file.get(), .tag = tag});
  };
  DCP_CHECK_OK(submit(1));
  DCP_CHECK_OK(submit(2));
  CHECK(submit(3).code() == absl::StatusCode::kFailedPrecondition);
  DCP_CHECK_OK(engine->Wait()->status);
  DCP_CHECK_OK(submit(4));
  DCP_CHECK_OK(engine->Wait()->status);
  DCP_CHECK_OK(engine->Wait()->status);
  CHECK(engine->Submit({}).code() == absl::StatusCode::kInvalidArgument);
  CHECK(engine->Submit({.file = file.get(), .byte_offset = -1}).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK_FALSE(engine->Wait().ok());
}

/// One request fails and says where; the others do not notice.
inline void CheckEngineErrors(const IoEngineUnderTest& under_test) {
  const std::string path = JoinPath(under_test.files.directory, "errors");
  DCP_CHECK_OK(
      WriteFile(*under_test.files.fs, path, "0123456789", SyncMode::kNone));
  auto file = MustOpen(*under_test.files.fs, path, {});
  auto engine = under_test.make(3);
  std::string good(4, '?');
  std::string past(4, '?');
  std::string refused = "abc";
  const std::vector<IoSlice> slices = {SliceOf(good), SliceOf(past),
                                       SliceOf(refused)};
  DCP_CHECK_OK(engine->Submit({.file = file.get(),
                               .byte_offset = 8,
                               .slices = {&slices[1], 1},
                               .tag = 20}));
  DCP_CHECK_OK(engine->Submit({.op = IoOp::kWrite,
                               .file = file.get(),
                               .byte_offset = 2,
                               .slices = {&slices[2], 1},
                               .tag = 30}));
  DCP_CHECK_OK(engine->Submit({.file = file.get(),
                               .byte_offset = 4,
                               .slices = {&slices[0], 1},
                               .tag = 10}));
  const std::map<uint64_t, Status> statuses = Drain(*engine, 3);
  DCP_CHECK_OK(statuses.at(10));
  CHECK(good == "4567");
  CHECK(statuses.at(20).code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(statuses.at(20))),
             Catch::Contains("file ends at 10 B"));
  const auto detail = GetErrorDetail(statuses.at(30));
  REQUIRE(detail.has_value());
  CHECK(detail->path == path);
  CHECK(detail->byte_offset == 2);
  CHECK(detail->nbytes == 3);
  CHECK(detail->error_number != 0);
  CHECK(MustReadFile(*under_test.files.fs, path) == "0123456789");
}

inline void CheckDestructorWaits(const IoEngineUnderTest& under_test) {
  FileSystem& fs = *under_test.files.fs;
  const std::string path = JoinPath(under_test.files.directory, "destructor");
  const std::string expected = RandomBytes(15, 8 << 16);
  auto file = MustCreate(fs, path);
  {
    std::string bytes = expected;
    std::vector<IoSlice> blocks;
    for (size_t i = 0; i < 8; ++i) {
      blocks.push_back({SliceOf(bytes).data + (i << 16), 1 << 16});
    }
    auto engine = under_test.make(8);
    for (size_t i = 0; i < 8; ++i) {
      DCP_CHECK_OK(engine->Submit({.op = IoOp::kWrite,
                                   .file = file.get(),
                                   .byte_offset = static_cast<int64_t>(i << 16),
                                   .slices = {&blocks[i], 1}}));
    }
    engine.reset();
    bytes.assign(bytes.size(), '!');  // nobody reads this any more
  }
  DCP_CHECK_OK(file->Close());
  CHECK((MustReadFile(fs, path) == expected));
}

inline void CheckIoEngine(const IoEngineFactory& make) {
  const IoEngineUnderTest under_test = make();
  INFO("engine " << under_test.make(1)->name() << " over "
                 << under_test.files.fs->traits().name << " in "
                 << under_test.files.directory);
  SECTION("bytes arrive through the page cache") {
    RandomTransfers(under_test, DirectIo::kOff, TakeBy::kWait).Check();
  }
  SECTION("bytes arrive past the page cache") {
    RandomTransfers(under_test, DirectIo::kTry, TakeBy::kWait).Check();
  }
  SECTION("polling finds every completion") {
    RandomTransfers(under_test, DirectIo::kTry, TakeBy::kPoll).Check();
  }
  SECTION("requests need no alignment") { CheckUnalignedTransfers(under_test); }
  SECTION("a request may have thousands of slices") {
    CheckManySlicesInFlight(under_test);
  }
  SECTION("the queue depth is a limit") { CheckQueueDepth(under_test); }
  SECTION("an error names its place and stays alone") {
    CheckEngineErrors(under_test);
  }
  SECTION("the destructor waits for what is in flight") {
    CheckDestructorWaits(under_test);
  }
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_IO_ENGINE_CONFORMANCE_H_
