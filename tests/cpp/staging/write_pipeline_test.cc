#include "staging/write_pipeline.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "staging/pipeline_cases.h"

namespace dcp {
namespace {

using conformance::MustOpen;
using conformance::MustReadFile;
using conformance::RandomBytes;

/// Some files, regions of them, and what is to stand in each file.
struct WriteCase {
  std::vector<std::shared_ptr<File>> files;
  std::vector<FileRegion> regions;
  std::vector<RegionBytes> content;
  std::vector<std::string> expected;

  void AddFile(const FilePlace& place, int number) {
    const std::string path =
        JoinPath(place.directory, "f" + std::to_string(number));
    files.push_back(
        MustOpen(*place.fs, path,
                 {.mode = OpenMode::kCreateNew, .direct_io = place.direct_io}));
    expected.emplace_back();
  }
  /// Appends a region to the last file, aligned, with a gap of zeros at times.
  void AddRegion(const FilePlace& place, Random* random) {
    std::string& file = expected.back();
    const auto unit = static_cast<size_t>(place.alignment);
    size_t begin = (file.size() + unit - 1) / unit * unit;
    if (random->OneIn(4)) begin += unit;
    const auto nbytes = static_cast<size_t>(random->Between(0, 300000));
    const std::string bytes = RandomBytes(random->engine(), nbytes);
    file.resize(begin, '\0');
    file += bytes;
    content.push_back({.begin = static_cast<int64_t>(begin), .bytes = bytes});
    regions.push_back({.file = files.back(),
                       .begin = static_cast<int64_t>(begin),
                       .end = static_cast<int64_t>(file.size())});
  }
};

PipelineOptions SmallBlocks(IoEngineKind engine, Random* random) {
  return {.engine = engine,
          .workers = static_cast<int>(random->Between(1, 4)),
          .blocks_per_worker = static_cast<int>(random->Between(2, 4)),
          .direct_block_nbytes = 65536 * random->Between(1, 2),
          .buffered_block_nbytes = 4096 * random->Between(1, 5)};
}

void CheckRandomRegions(const FilePlace& place, IoEngineKind engine,
                        uint64_t seed) {
  INFO(place.name << ", seed " << seed);
  Random random(seed);
  WriteCase test;
  for (int f = 0; f < random.Between(1, 3); ++f) {
    test.AddFile(place, f);
    for (int64_t r = random.Between(0, 3); r > 0; --r) {
      test.AddRegion(place, &random);
    }
  }
  const PipelineOptions options = SmallBlocks(engine, &random);
  StringFiller filler(test.content);
  const auto order =
      random.OneIn(3) ? WriteOrder::kSequential : WriteOrder::kAny;
  DCP_CHECK_OK(RunWritePipeline(test.regions, order, filler, options));
  CHECK(filler.buffer_count() <=
        static_cast<size_t>(options.workers * options.blocks_per_worker));
  CHECK(filler.largest_buffer() <=
        static_cast<size_t>(options.direct_block_nbytes));
  CHECK_FALSE(filler.cancelled());
  for (size_t f = 0; f < test.files.size(); ++f) {
    std::string& expected = test.expected[f];
    // Regions without bytes leave the file as it was.
    expected.resize(expected.find_last_not_of('\0') + 1);
    const std::string path = test.files[f]->path();
    DCP_CHECK_OK(test.files[f]->Close());
    std::string written = MustReadFile(*place.fs, path);
    const size_t padding = written.size() - expected.size();
    CHECK(written.size() >= expected.size());
    CHECK(padding < 2 * static_cast<size_t>(place.alignment));
    // What is there beyond the last region is zeros.
    CHECK(written.find_first_not_of('\0', expected.size()) ==
          std::string::npos);
    written.resize(expected.size());
    CHECK((written == expected));
    DCP_CHECK_OK(place.fs->Remove(path));
  }
}

TEST_CASE("random regions arrive byte for byte, on every kind of file",
          "[staging]") {
  const testing::TempDirectory temp;
  for (const FilePlace& place : AllPlaces(temp)) {
    for (IoEngineKind engine : kBothEngines) {
      for (uint64_t seed = 1; seed <= 30; ++seed) {
        CheckRandomRegions(place, engine, seed);
      }
    }
  }
}

TEST_CASE("direct files are written in aligned transfers only", "[staging]") {
  for (int64_t alignment : {4096, 65536}) {
    const FilePlace place = DirectMemoryPlace(alignment);
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      CheckRandomRegions(place, IoEngineKind::kThreads, seed);
    }
    const auto& fs = static_cast<const testing::DirectFileSystem&>(*place.fs);
    CHECK(fs.unaligned_writes() == 0);
  }
}

/// Records in which order blocks are written.
class OrderFiller : public BlockFiller {
 public:
  Status Fill(const WriteBlock& block, FillMode, std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    offsets.push_back(block.byte_offset);
    slices->push_back({buffer.data(), static_cast<size_t>(block.nbytes)});
    return absl::OkStatus();
  }
  void Cancel() override {}

  std::vector<int64_t> offsets;
};

/// Takes its time, so that the pipeline asks whether to go on.
class SlowFiller final : public OrderFiller {
 public:
  Status Fill(const WriteBlock& block, FillMode mode,
              std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    OutlastProceedCheck();
    return OrderFiller::Fill(block, mode, buffer, slices);
  }
};

TEST_CASE("sequential files are written front to back by one thread",
          "[staging]") {
  const FilePlace place = MemoryPlace();
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 0, .end = 1000000};
  OrderFiller filler;  // not thread-safe: TSan would tell
  DCP_CHECK_OK(RunWritePipeline({&region, 1}, WriteOrder::kSequential, filler,
                                {.workers = 4, .buffered_block_nbytes = 4096}));
  CHECK(filler.offsets.size() == 245);
  CHECK(std::is_sorted(filler.offsets.begin(), filler.offsets.end()));
}

TEST_CASE("blocks end on multiples of their size", "[staging]") {
  const FilePlace place = MemoryPlace();
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 4096, .end = 50000};
  OrderFiller filler;
  DCP_CHECK_OK(RunWritePipeline({&region, 1}, WriteOrder::kSequential, filler,
                                {.buffered_block_nbytes = 16384}));
  CHECK(filler.offsets == std::vector<int64_t>{4096, 16384, 32768, 49152});
}

TEST_CASE("who runs the pipeline can end it between two blocks", "[staging]") {
  const FilePlace place = MemoryPlace();
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 0, .end = 1000000};
  SlowFiller filler;
  const Status status = RunWritePipeline(
      {&region, 1}, WriteOrder::kSequential, filler,
      {.buffered_block_nbytes = 4096, .proceed = RefuseToProceed});
  CHECK(status.code() == absl::StatusCode::kCancelled);
  CHECK(filler.offsets.size() < 100);  // of 245, at 60 ms each
}

TEST_CASE("who runs the pipeline can end it while it waits for its rate",
          "[staging]") {
  const FilePlace place = MemoryPlace();
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 0, .end = 1000000};
  OrderFiller filler;
  const Status status =
      RunWritePipeline({&region, 1}, WriteOrder::kSequential, filler,
                       {.buffered_block_nbytes = 4096,
                        .proceed = RefuseToProceed,
                        .rate = WriteRate::Make(1, MakeSystemClock())});
  CHECK(status.code() == absl::StatusCode::kCancelled);
  CHECK(filler.offsets.size() <= 1);  // the next one would take an hour
}

TEST_CASE("who runs the pipeline is asked after the last block, too",
          "[staging]") {
  const FilePlace place = MemoryPlace();
  const std::shared_ptr<File> file =
      MustOpen(*place.fs, "/f", {.mode = OpenMode::kCreateNew});
  const FileRegion region{.file = file, .begin = 0, .end = 10};
  OrderFiller filler;
  const Status status = RunWritePipeline({&region, 1}, WriteOrder::kSequential,
                                         filler, {.proceed = RefuseToProceed});
  CHECK(status.code() == absl::StatusCode::kCancelled);
}

TEST_CASE("nothing to write makes no engine and no error", "[staging]") {
  OrderFiller filler;
  DCP_CHECK_OK(RunWritePipeline({}, WriteOrder::kAny, filler, {}));
  CHECK(filler.offsets.empty());
}

}  // namespace
}  // namespace dcp
