#include "testing/fault_injection_io_engine.h"

#include <catch2/catch.hpp>
#include <set>

#include "conformance/bytes.h"

namespace dcp::testing {
namespace {

/// Writes single bytes 'a', 'b', ... of one file, one request each.
class Writes {
 public:
  Writes(EngineFaultScript script, int count)
      : file_(fs_->Open("/f", {.mode = OpenMode::kCreateNew}).value()),
        engine_(MakeIoEngine({.kind = IoEngineKind::kThreads,
                              .queue_depth = 16,
                              .threads = 0})
                    .value(),
                std::move(script)) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>('a' + i);
    for (size_t i = 0; i < bytes_.size(); ++i) {
      slices_.push_back({conformance::SliceOf(bytes_).data + i, 1});
    }
    for (size_t i = 0; i < bytes_.size(); ++i) {
      REQUIRE(engine_
                  .Submit({.op = IoOp::kWrite,
                           .file = file_.get(),
                           .byte_offset = static_cast<int64_t>(i),
                           .slices = {&slices_[i], 1},
                           .tag = i})
                  .ok());
    }
  }

  FaultInjectionIoEngine& engine() { return engine_; }
  std::string Content() { return ReadFile(*fs_, "/f", 100, {}).value(); }

  /// '+' or '-' for each request's status, in the order of requests.
  std::string Outcome() {
    std::string outcome(bytes_.size(), '?');
    for (size_t i = 0; i < bytes_.size(); ++i) {
      const auto completion = engine_.Wait();
      REQUIRE(completion.ok());
      outcome.at(completion->tag) = completion->status.ok() ? '+' : '-';
    }
    return outcome;
  }

 private:
  std::shared_ptr<FileSystem> fs_ = MakeMemoryFileSystem();
  std::unique_ptr<File> file_;
  std::string bytes_;
  std::vector<IoSlice> slices_;
  FaultInjectionIoEngine engine_;
};

TEST_CASE("requests fail as the script says", "[fault_engine]") {
  Writes once({.faults = {{.request = 2, .error_number = ENOSPC}}}, 4);
  CHECK(once.Outcome() == "+-++");
  CHECK(once.Content() == std::string("a\0cd", 4));
  CHECK(once.engine().submitted() == 4);

  Writes always({.faults = {{.request = 3,
                             .duration = FaultDuration::kFromThenOn,
                             .effect = FaultEffect::kFull}}},
                4);
  CHECK(always.Outcome() == "++--");
  CHECK(always.Content() == "abcd");
}

TEST_CASE("a failing request may leave half of its bytes", "[fault_engine]") {
  auto fs = MakeMemoryFileSystem();
  auto file = fs->Open("/f", {.mode = OpenMode::kCreateNew}).value();
  FaultInjectionIoEngine engine(
      MakeIoEngine({}).value(),
      {.faults = {{.effect = FaultEffect::kPartial}}});
  std::string bytes = "0123456789";
  const IoSlice slice = conformance::SliceOf(bytes);
  REQUIRE(
      engine
          .Submit(
              {.op = IoOp::kWrite, .file = file.get(), .slices = {&slice, 1}})
          .ok());
  const auto detail = GetErrorDetail(engine.Wait()->status);
  REQUIRE(detail.has_value());
  CHECK(detail->error_number == EIO);
  CHECK(detail->path == "/f");
  CHECK(ReadFile(*fs, "/f", 100, {}).value() == "01234");
}

TEST_CASE("completions come in any order", "[fault_engine]") {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Writes writes({.order = CompletionOrder::kShuffled, .seed = seed}, 3);
    std::string order;
    for (int i = 0; i < 3; ++i) {
      order += std::to_string(writes.engine().Wait()->tag);
    }
    orders.insert(order);
  }
  CHECK(orders ==
        std::set<std::string>{"012", "021", "102", "120", "201", "210"});
}

TEST_CASE("polling may find nothing for a while", "[fault_engine]") {
  Writes writes({.max_idle_polls = 3, .seed = 1}, 2);
  int idle = 0;
  for (int found = 0; found < 2;) {
    if (writes.engine().Poll().value()) {
      ++found;
    } else {
      ++idle;
    }
  }
  CHECK(idle >= 3);
  CHECK(idle <= 6);
}

}  // namespace
}  // namespace dcp::testing
