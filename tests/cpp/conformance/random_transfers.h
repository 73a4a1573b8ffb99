// The part of the I/O engine conformance suite that has many requests in
// flight.

#ifndef DCP_TESTS_CONFORMANCE_RANDOM_TRANSFERS_H_
#define DCP_TESTS_CONFORMANCE_RANDOM_TRANSFERS_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "conformance/bytes.h"
#include "conformance/check_files.h"
#include "dcp/io_engine.h"

namespace dcp::conformance {

struct IoEngineUnderTest {
  std::function<std::unique_ptr<IoEngine>(int queue_depth)> make;
  FileSystemUnderTest files;  ///< positional writes, an empty directory
};
enum class TakeBy : uint8_t { kWait, kPoll };

/// Writes blocks of random sizes in a random order, then reads them in another:
/// every byte arrives, every tag comes back once.
class RandomTransfers {
 public:
  RandomTransfers(const IoEngineUnderTest& under_test, DirectIo direct_io,
                  TakeBy take_by)
      : fs_(*under_test.files.fs),
        path_(JoinPath(under_test.files.directory, "random")),
        direct_io_(direct_io),
        take_by_(take_by),
        engine_(under_test.make(kQueueDepth)) {
    for (size_t at = 0; at < kUnits;) {
      const size_t n = std::min<size_t>(random_() % 9 + 1, kUnits - at);
      blocks_.push_back({memory_.data() + at * kUnit, n * kUnit});
      at += n;
    }
  }

  void Check() {
    const IoSlice all = memory_.slice();
    (void)engine_->RegisterBuffer(all);
    memory_.Fill(expected_);
    TransferAll(IoOp::kWrite, OpenMode::kCreateNew);
    memory_.Fill(std::string(expected_.size(), '?'));
    TransferAll(IoOp::kRead, OpenMode::kRead);
    CHECK((memory_.str() == expected_));
  }

 private:
  static constexpr size_t kUnit = 4096;
  static constexpr size_t kUnits = 300;
  static constexpr int kQueueDepth = 5;

  void TransferAll(IoOp op, OpenMode mode) {
    auto file = MustOpen(fs_, path_, {.mode = mode, .direct_io = direct_io_});
    std::shuffle(blocks_.begin(), blocks_.end(), random_);
    returned_.assign(blocks_.size(), 0);
    int in_flight = 0;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      for (; in_flight == kQueueDepth; --in_flight) TakeOne();
      DCP_CHECK_OK(
          engine_->Submit({.op = op,
                           .file = file.get(),
                           .byte_offset = blocks_[i].data - memory_.data(),
                           .slices = {&blocks_[i], 1},
                           .tag = i}));
      ++in_flight;
    }
    for (; in_flight > 0; --in_flight) TakeOne();
    CHECK(std::count(returned_.begin(), returned_.end(), 1) ==
          static_cast<std::ptrdiff_t>(blocks_.size()));
    DCP_CHECK_OK(file->Close());
  }

  void TakeOne() {
    std::optional<IoCompletion> completion;
    while (take_by_ == TakeBy::kPoll && !completion) {
      completion = engine_->Poll().value();
    }
    if (!completion) completion = engine_->Wait().value();
    DCP_CHECK_OK(completion->status);
    ++returned_.at(completion->tag);
  }

  FileSystem& fs_;
  const std::string path_;
  const DirectIo direct_io_;
  const TakeBy take_by_;
  std::mt19937_64 random_{12};
  const std::string expected_ = RandomBytes(11, kUnit* kUnits);
  AlignedBytes memory_{kUnit * kUnits};
  std::vector<IoSlice> blocks_;
  std::vector<int> returned_;               // how often each tag came back
  const std::unique_ptr<IoEngine> engine_;  // goes before the memory
};

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_RANDOM_TRANSFERS_H_
