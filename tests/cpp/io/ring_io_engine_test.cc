#include "io/ring_io_engine.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <deque>
#include <set>

#include "conformance/bytes.h"
#include "io/fake_ring.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

using conformance::AlignedBytes;
using conformance::RandomBytes;
using conformance::SliceOf;
using testing::FakeFile;
using testing::FakeRing;
using testing::FakeRingOptions;

constexpr int kFd = 1000;
constexpr int64_t kPage = 4096;

/// An engine over a fake ring with one file.
struct Fixture {
  Fixture(int queue_depth, std::string content, const FakeRingOptions& options,
          std::optional<DirectIoAlignment> alignment = std::nullopt)
      : file(kFd, std::move(content), alignment) {
    auto made =
        std::make_unique<FakeRing>(static_cast<size_t>(queue_depth), options);
    ring = made.get();
    ring->Add(file);
    engine = std::make_unique<RingIoEngine>(std::move(made), queue_depth);
  }

  Status Submit(IoOp op, int64_t byte_offset, const IoSlice& slice,
                uint64_t tag = 0) {
    return engine->Submit({.op = op,
                           .file = &file,
                           .byte_offset = byte_offset,
                           .slices = {&slices.emplace_back(slice), 1},
                           .tag = tag});
  }

  std::deque<IoSlice> slices;  // must outlive their requests
  FakeFile file;
  FakeRing* ring = nullptr;
  std::unique_ptr<RingIoEngine> engine;
};

/// One random run: a file is written in blocks of all sorts and read in others,
/// over a ring that misbehaves as `seed` has it.
class RandomRun {
 public:
  explicit RandomRun(uint64_t seed)
      : random_(seed),
        expected_(RandomBytes(seed, kNbytes)),
        memory_(kNbytes),
        fixture_(Pick(1, 8), "", OptionsOf(seed),
                 Pick(0, 2) > 0 ? std::optional(DirectIoAlignment{
                                      .memory = 512, .offset = kPage})
                                : std::nullopt) {}

  void Check() {
    if (Pick(0, 1) == 0) {
      const IoSlice half{memory_.data(), kNbytes / 2};
      REQUIRE(fixture_.engine->RegisterBuffer(half));
    }
    memory_.Fill(expected_);
    TransferAll(IoOp::kWrite);
    REQUIRE((fixture_.file.bytes == expected_));
    memory_.Fill(std::string(kNbytes, '?'));
    TransferAll(IoOp::kRead);
    REQUIRE((memory_.str() == expected_));
    REQUIRE(fixture_.ring->complaint().empty());
  }

 private:
  static constexpr size_t kNbytes = 24 * kPage + 777;

  int Pick(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random_);
  }

  FakeRingOptions OptionsOf(uint64_t seed) {
    const auto chance = [&] { return Pick(0, 2) * 0.3; };
    return {.seed = seed,
            .short_transfer = chance(),
            .transient = chance(),
            .refuse_direct = Pick(0, 3) == 0 ? 0.5 : 0,
            .refuse_start = chance(),
            .nothing_ready = 0.5};
  }

  /// Cuts the file into requests of one to three slices, some of them aligned.
  std::vector<std::vector<IoSlice>> Cut() {
    std::vector<std::vector<IoSlice>> requests;
    for (size_t at = 0; at < kNbytes;) {
      std::vector<IoSlice> slices;
      for (int i = Pick(1, 3); i > 0 && at < kNbytes; --i) {
        const int nbytes = Pick(0, 2) > 0
                               ? Pick(1, 4) * static_cast<int>(kPage)
                               : Pick(1, 3 * static_cast<int>(kPage));
        const size_t n = std::min(static_cast<size_t>(nbytes), kNbytes - at);
        slices.push_back({memory_.data() + at, n});
        at += n;
      }
      requests.push_back(std::move(slices));
    }
    std::shuffle(requests.begin(), requests.end(), random_);
    return requests;
  }

  void TransferAll(IoOp op) {
    const auto requests = Cut();
    std::set<uint64_t> in_flight;
    const auto depth = static_cast<size_t>(fixture_.engine->queue_depth());
    for (size_t i = 0; i < requests.size(); ++i) {
      while (in_flight.size() == depth) TakeOne(&in_flight);
      REQUIRE(fixture_.engine
                  ->Submit(
                      {.op = op,
                       .file = &fixture_.file,
                       .byte_offset = requests[i].front().data - memory_.data(),
                       .slices = requests[i],
                       .tag = i})
                  .ok());
      in_flight.insert(i);
    }
    while (!in_flight.empty()) TakeOne(&in_flight);
  }

  void TakeOne(std::set<uint64_t>* in_flight) {
    std::optional<IoCompletion> completion;
    if (Pick(0, 1) == 0) completion = fixture_.engine->Poll().value();
    if (!completion) completion = fixture_.engine->Wait().value();
    INFO(Message(completion->status));
    REQUIRE(completion->status.ok());
    REQUIRE(in_flight->erase(completion->tag) == 1);
  }

  std::mt19937_64 random_;
  const std::string expected_;
  AlignedBytes memory_;
  Fixture fixture_;
};

TEST_CASE("whatever the ring does to transfers, the bytes arrive",
          "[ring][R26]") {
  const auto schedules = static_cast<uint64_t>(testing::Trials(2000, 10'000));
  for (uint64_t seed = 0; seed < schedules; ++seed) {
    INFO("seed " << seed);
    RandomRun(seed).Check();
  }
  testing::Report({.row = "R26",
                   .trial = "short, refused and reordered completions",
                   .count = static_cast<int64_t>(schedules),
                   .note = "bytes identical"});
}

TEST_CASE("a ring that only says EAGAIN does not stop a transfer", "[ring]") {
  const int error = GENERATE(EAGAIN, EINTR, EBUSY);
  Fixture fixture(2, "", {.result = [&](const RingEntry&) { return -error; }});
  std::string bytes = "bytes";
  REQUIRE(fixture.Submit(IoOp::kWrite, 3, SliceOf(bytes)).ok());
  CHECK(fixture.engine->Wait()->status.ok());
  CHECK(fixture.file.bytes == std::string("\0\0\0bytes", 8));
  CHECK(fixture.file.own_calls == 1);
}

TEST_CASE("a ring that takes nothing does not stop a transfer", "[ring]") {
  Fixture fixture(2, "0123456789", {.refuse_start = 1});
  std::string bytes = "....";
  REQUIRE(fixture.Submit(IoOp::kRead, 3, SliceOf(bytes)).ok());
  CHECK(fixture.engine->Wait()->status.ok());
  CHECK(bytes == "3456");
  CHECK(fixture.file.own_calls == 1);
}

TEST_CASE("a final error belongs to its request alone", "[ring]") {
  const auto fail_second_page =
      [](const RingEntry& entry) -> std::optional<int64_t> {
    if (entry.byte_offset == kPage) return -EIO;
    return std::nullopt;
  };
  Fixture fixture(3, std::string(3 * kPage, 'x'),
                  {.short_transfer = 0.5, .result = fail_second_page});
  std::string bytes(3 * kPage, '?');
  const IoSlice all = SliceOf(bytes);
  std::vector<IoSlice> pages;
  for (size_t i = 0; i < 3; ++i) {
    pages.push_back({all.data + i * kPage, static_cast<size_t>(kPage)});
    const auto offset = static_cast<int64_t>(i) * kPage;
    REQUIRE(fixture.Submit(IoOp::kRead, offset, pages[i], i).ok());
    const auto completion = fixture.engine->Wait();
    REQUIRE(completion.ok());
    CHECK(completion->tag == i);
    CHECK(completion->status.ok() == (i != 1));
    if (i == 1) {
      CHECK(GetErrorDetail(completion->status)->error_number == EIO);
      CHECK(GetErrorDetail(completion->status)->byte_offset == kPage);
    }
  }
}

TEST_CASE("a ring that writes nothing is an error", "[ring]") {
  Fixture fixture(1, "", {.result = [](const RingEntry&) { return 0; }});
  std::string bytes = "bytes";
  REQUIRE(fixture.Submit(IoOp::kWrite, 0, SliceOf(bytes)).ok());
  const Status status = fixture.engine->Wait()->status;
  CHECK(GetErrorDetail(status)->error_number == EIO);
}

TEST_CASE("the destructor finishes what the ring did by halves", "[ring]") {
  std::string content;
  {
    Fixture fixture(4, "", {.short_transfer = 1, .refuse_start = 0.5});
    std::string bytes = RandomBytes(1, 4000);
    std::vector<IoSlice> parts;
    for (size_t i = 0; i < 4; ++i) {
      parts.push_back({SliceOf(bytes).data + i * 1000, 1000});
    }
    for (size_t i = 0; i < 4; ++i) {
      const auto offset = static_cast<int64_t>(i) * 1000;
      REQUIRE(fixture.Submit(IoOp::kWrite, offset, parts[i]).ok());
    }
    fixture.engine.reset();
    content = fixture.file.bytes;
  }
  CHECK((content == RandomBytes(1, 4000)));
}

TEST_CASE("single slices in registered buffers are recognised", "[ring]") {
  std::vector<int> indices;
  Fixture fixture(2, std::string(100, 'x'),
                  {.result = [&](const RingEntry& entry) {
                    indices.push_back(entry.buffer_index);
                    return std::nullopt;
                  }});
  std::string memory(100, '?');
  std::byte* base = SliceOf(memory).data;
  REQUIRE(fixture.engine->RegisterBuffer({base + 50, 20}));
  const auto read = [&](size_t begin, size_t nbytes) {
    const IoSlice slice{base + begin, nbytes};
    REQUIRE(fixture.Submit(IoOp::kRead, 0, slice).ok());
    CHECK(fixture.engine->Wait()->status.ok());
  };
  read(10, 20);
  REQUIRE(fixture.engine->RegisterBuffer({base + 10, 20}));
  read(10, 20);
  read(15, 15);
  read(50, 1);
  read(69, 1);
  read(69, 2);
  read(9, 5);
  read(30, 5);
  read(70, 5);
  CHECK_FALSE(fixture.engine->RegisterBuffer({base + 80, 20}));
  CHECK(indices == std::vector<int>{-1, 1, 1, 0, 0, -1, -1, -1, -1});
  CHECK(fixture.ring->complaint().empty());
}

/// A ring whose answers are nonsense.
class BrokenRing final : public Ring {
 public:
  bool RegisterBuffer(int, const iovec&) override { return false; }
  int Start(const RingEntry&) override { return 0; }
  StatusOr<std::optional<RingEvent>> Next(RingWait) override {
    if (answers_++ == 0) return RingEvent{.user_data = 77, .result = 1};
    return ErrnoToStatus(EBADF, {.op = "io_uring_enter"});
  }

 private:
  int answers_ = 0;
};

TEST_CASE("a broken ring is reported and does not hang the destructor",
          "[ring]") {
  FakeFile file(kFd, "", std::nullopt);
  RingIoEngine engine(std::make_unique<BrokenRing>(), 4);
  std::string bytes = "bytes";
  const IoSlice slice = SliceOf(bytes);
  REQUIRE(
      engine.Submit({.op = IoOp::kWrite, .file = &file, .slices = {&slice, 1}})
          .ok());
  CHECK(engine.Wait().status().code() == absl::StatusCode::kInternal);
  CHECK(GetErrorDetail(engine.Wait().status())->error_number == EBADF);
  CHECK_FALSE(engine.Poll().ok());
}

}  // namespace
}  // namespace dcp
