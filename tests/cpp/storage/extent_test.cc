#include "storage/extent.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/tensor_cases.h"
#include "conformance/check_files.h"
#include "format/bytes.h"
#include "storage/block_checksums.h"
#include "testing/direct_file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

/// Collects bytes, in place if it may, and counts how often each came.
class RecordingSink final : public ExtentSink {
 public:
  RecordingSink(int64_t begin, int64_t nbytes, bool in_place)
      : begin_(begin),
        in_place_(in_place),
        bytes_(static_cast<size_t>(nbytes), '?'),
        times_(static_cast<size_t>(nbytes), 0) {}

  std::string_view key() const override { return name_; }
  std::byte* InPlace(int64_t begin, int64_t) override {
    return in_place_ ? At(begin) : nullptr;
  }
  Status Write(int64_t begin, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes.data() != At(begin)) {
      std::copy(bytes.begin(), bytes.end(), At(begin));
    }
    for (size_t i = 0; i < bytes.size(); ++i) {
      ++times_[static_cast<size_t>(begin - begin_) + i];
    }
    return absl::OkStatus();
  }

  bool Has(const std::string& file, int64_t begin, int64_t end) const {
    const auto from = static_cast<size_t>(begin - begin_);
    const auto n = static_cast<size_t>(end - begin);
    return bytes_.substr(from, n) ==
               file.substr(static_cast<size_t>(begin), n) &&
           std::all_of(times_.begin() + static_cast<std::ptrdiff_t>(from),
                       times_.begin() + static_cast<std::ptrdiff_t>(from + n),
                       [](int times) { return times == 1; });
  }

 private:
  std::byte* At(int64_t begin) {
    return reinterpret_cast<std::byte*>(bytes_.data()) + (begin - begin_);
  }

  const std::string name_ = "sink";
  const int64_t begin_;
  const bool in_place_;
  std::mutex mutex_;
  std::string bytes_;
  std::vector<int> times_;
};

SidecarFile RecordOf(const std::string& file) {
  SidecarFile record{.name = "f", .nbytes = static_cast<int64_t>(file.size())};
  for (size_t at = 0; at < file.size(); at += size_t{kChecksumBlock}) {
    record.block_crcs.push_back(
        Crc32(0, AsBytes(file.substr(at, kChecksumBlock))));
  }
  return record;
}

/// A file of some mebibytes, its record, and extents in it.
struct ReadCase {
  explicit ReadCase(Random* random)
      : content(conformance::RandomBytes(
            random->engine(),
            static_cast<size_t>(random->Between(1, 5 << 20)))),
        record(RecordOf(content)) {
    const auto size = static_cast<int64_t>(content.size());
    for (int64_t i = random->Between(1, 12); i > 0; --i) {
      const int64_t begin = random->Between(0, size - 1);
      const int64_t most = random->OneIn(2) ? size - begin : 100000;
      const int64_t end = std::min(
          size, begin + random->Between(1, std::max<int64_t>(most, 1)));
      sinks.push_back(std::make_unique<RecordingSink>(begin, end - begin,
                                                      random->OneIn(2)));
      extents.push_back(
          {.begin = begin, .end = end, .sink = sinks.back().get()});
    }
  }

  const std::string content;
  const SidecarFile record;
  std::vector<std::unique_ptr<RecordingSink>> sinks;
  std::vector<Extent> extents;
};

PipelineOptions Options(Random* random) {
  return {.engine = IoEngineKind::kThreads,
          .workers = static_cast<int>(random->Between(1, 3)),
          .direct_block_nbytes = random->Between(1, 3) << 20,
          .buffered_block_nbytes = int64_t{1} << 20};
}

void CheckExtents(uint64_t seed) {
  INFO("seed " << seed);
  Random random(seed);
  auto forgetful = std::make_shared<testing::FaultInjectionFileSystem>(
      MakeMemoryFileSystem(),
      testing::FaultScript{
          .cached_reads = random.OneIn(2)
                              ? testing::CachedReads::kAsBase
                              : testing::CachedReads::kRandomlyShort,
          .seed = seed});
  testing::DirectFileSystem fs(forgetful);
  const ReadCase test(&random);
  DCP_CHECK_OK(WriteFile(fs, "/f", test.content, SyncMode::kNone));
  auto file = conformance::MustOpen(
      fs, "/f",
      {.direct_io = random.OneIn(2) ? DirectIo::kTry : DirectIo::kOff});
  FileExtents reads{.file = file.get(),
                    .file_nbytes = static_cast<int64_t>(test.content.size()),
                    .extents = test.extents};
  if (random.OneIn(2)) reads.checksums = &test.record;
  std::vector<FileExtents> files;
  files.push_back(std::move(reads));
  DCP_CHECK_OK(ReadExtents(std::move(files), Options(&random)).status());
  for (size_t i = 0; i < test.sinks.size(); ++i) {
    CHECK(test.sinks[i]->Has(test.content, test.extents[i].begin,
                             test.extents[i].end));
  }
}

TEST_CASE("every byte of every extent comes once, also where extents overlap",
          "[storage]") {
  for (uint64_t seed = 1; seed <= 200; ++seed) CheckExtents(seed);
}

TEST_CASE("reads stay within the size of a block", "[storage]") {
  Random random(5);
  for (int round = 0; round < 100; ++round) {
    ReadCase test(&random);
    const int64_t most = random.Between(1, 3) << 20;
    FileExtents reads{.file_nbytes = static_cast<int64_t>(test.content.size()),
                      .extents = test.extents};
    if (random.OneIn(2)) reads.checksums = &test.record;
    const ExtentReads cut(std::move(reads), most);
    for (size_t i = 0; i < cut.ranges().size(); ++i) {
      const ExtentReads::Range& range = cut.ranges()[i];
      CHECK(range.end - range.begin <= most);
      CHECK(range.end > range.begin);
      if (i > 0) CHECK(range.begin >= cut.ranges()[i - 1].end);
    }
  }
}

TEST_CASE("with checksums any flipped bit that is read is found and placed",
          "[storage]") {
  Random random(6);
  for (int round = 0; round < 40; ++round) {
    const ReadCase test(&random);
    auto fs = MakeMemoryFileSystem();
    std::string damaged = test.content;
    const Extent& hit = test.extents[0];
    const auto byte =
        static_cast<size_t>(random.Between(hit.begin, hit.end - 1));
    damaged[byte] = static_cast<char>(damaged[byte] ^ 4);
    DCP_CHECK_OK(WriteFile(*fs, "/f", damaged, SyncMode::kNone));
    auto file = conformance::MustOpen(*fs, "/f", {});
    std::vector<FileExtents> files;
    files.push_back({.file = file.get(),
                     .file_nbytes = static_cast<int64_t>(damaged.size()),
                     .checksums = &test.record,
                     .extents = test.extents});
    const Status status =
        ReadExtents(std::move(files), Options(&random)).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    const auto detail = GetErrorDetail(status);
    REQUIRE(detail.has_value());
    CHECK(detail->fqn == "sink");
    CHECK(detail->byte_offset ==
          static_cast<int64_t>(byte) / kChecksumBlock * kChecksumBlock);
  }
}

}  // namespace
}  // namespace dcp
