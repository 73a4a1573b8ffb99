#include "archive_storage.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <numeric>
#include <sstream>
#include <vector>

#include "dcp/checkpoint.h"
#include "ranks.h"
#include "temporary_directory.h"

namespace examples {
namespace {

std::string TextOf(const dcp::Status& status) {
  return std::string(dcp::Message(status));
}

/// A float32 matrix of 8 x 3 whose elements count up from `first`.
std::vector<float> Matrix(float first) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), first);
  return values;
}

dcp::TensorView ViewOf(std::vector<float>& values) {
  return dcp::ContiguousView(values.data(), dcp::DType::kFloat32, {8, 3});
}

/// Saves a matrix and a number.
dcp::Status SaveMatrix(float first, const ArchiveWriterOptions& options,
                       dcp::Transport& transport,
                       const dcp::SaveOptions& save_options) {
  std::vector<float> values = Matrix(first);
  DCP_ASSIGN_OR_RETURN(auto step, dcp::ObjectEntry("step", {int64_t{7}}));
  const std::vector<dcp::SaveEntry> entries = {
      dcp::TensorEntry("m", ViewOf(values)), std::move(step)};
  const auto writer = MakeArchiveWriter(options);
  return dcp::Save(std::span<const dcp::SaveEntry>(entries), *writer, transport,
                   save_options)
      .status();
}

/// As above, in one process.
dcp::Status SaveMatrix(float first, const ArchiveWriterOptions& options) {
  return SaveMatrix(first, options, *dcp::MakeSingleProcessTransport(), {});
}

/// Loads both, and returns the matrix.
dcp::StatusOr<std::vector<float>> LoadMatrix(
    const ArchiveReaderOptions& options) {
  std::vector<float> values(24, -1);
  DCP_ASSIGN_OR_RETURN(const auto checkpoint,
                       dcp::Checkpoint::Open(MakeArchiveReader(options)));
  DCP_RETURN_IF_ERROR(
      checkpoint->ReadTensor("m", dcp::WholeBox({8, 3}), ViewOf(values)));
  DCP_RETURN_IF_ERROR(checkpoint->ReadObject("step").status());
  return values;
}

std::string ReadBytes(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_CASE("an archive is one file, and a new one replaces it", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  for (const float first : {0.F, 100.F}) {
    REQUIRE(SaveMatrix(first, {.path = path}).ok());
    CHECK(LoadMatrix({.path = path}).value() == Matrix(first));
    CHECK(directory.CountFiles() == 1);
  }
}

TEST_CASE("an archive is not replaced where that is off", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  REQUIRE(SaveMatrix(0, {.path = path, .overwrite = false}).ok());
  const dcp::Status again = SaveMatrix(1, {.path = path, .overwrite = false});
  CHECK_THAT(TextOf(again), Catch::Contains("overwrite is off"));
  CHECK(LoadMatrix({.path = path}).value() == Matrix(0));
}

TEST_CASE("every flipped byte of an archive is found or does no harm",
          "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  REQUIRE(SaveMatrix(0, {.path = path, .save_id = "s"}).ok());
  const std::string good = ReadBytes(path);
  int found = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    WriteBytes(path, bad);
    const auto loaded = LoadMatrix({.path = path});
    INFO("byte " << at << ": " << TextOf(loaded.status()));
    if (loaded.ok()) {
      CHECK(*loaded == Matrix(0));
      continue;
    }
    CHECK(loaded.status().code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(TextOf(loaded.status()), Catch::Contains(path));
    ++found;
  }
  // All but the head and the gaps between items.
  CHECK(found > static_cast<int>(good.size()) - 200);
}

TEST_CASE("a damaged tensor is named, and read if nobody minds", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  REQUIRE(SaveMatrix(0, {.path = path}).ok());
  std::string bytes = ReadBytes(path);
  bytes[64] = 0x55;
  WriteBytes(path, bytes);
  const dcp::Status status = LoadMatrix({.path = path}).status();
  const auto detail = dcp::GetErrorDetail(status);
  REQUIRE(detail.has_value());
  CHECK(detail->fqn == "m");
  CHECK(detail->byte_offset == 64);
  CHECK(LoadMatrix({.path = path, .verify = false}).ok());
}

TEST_CASE("an archive that was cut anywhere is no archive", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  REQUIRE(SaveMatrix(0, {.path = path}).ok());
  const std::string good = ReadBytes(path);
  for (size_t size = 0; size < good.size(); size += 7) {
    WriteBytes(path, good.substr(0, size));
    CHECK(LoadMatrix({.path = path}).status().code() ==
          absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("an export dtype is what is stored", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  REQUIRE(SaveMatrix(0, {.path = path, .export_dtype = dcp::DType::kBFloat16})
              .ok());
  const auto checkpoint =
      dcp::Checkpoint::Open(MakeArchiveReader({.path = path})).value();
  CHECK(checkpoint->metadata().FindTensor("m")->properties.dtype ==
        dcp::DType::kBFloat16);
  CHECK(LoadMatrix({.path = path}).value() == Matrix(0));
}

TEST_CASE("ranks that do not coordinate keep an archive each", "[archive]") {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.dcpar");
  const dcp::Status saved = RunRanks(2, [&](dcp::Transport& transport) {
    return SaveMatrix(static_cast<float>(transport.rank()), {.path = path},
                      transport, {.use_collectives = false});
  });
  INFO(TextOf(saved));
  REQUIRE(saved.ok());
  for (const int rank : {0, 1}) {
    CHECK(LoadMatrix({.path = RankArchivePath(path, rank)}).value() ==
          Matrix(static_cast<float>(rank)));
  }
}

/// A source whose data is not to be had.
class NoData final : public dcp::WriteSource {
 public:
  dcp::StatusOr<dcp::WritePayload> Resolve(const dcp::WriteItem&) override {
    return dcp::Unimplemented("no data");
  }
};

TEST_CASE("a save that fails leaves nothing behind", "[archive]") {
  const TemporaryDirectory directory;
  const auto writer = MakeArchiveWriter({.path = directory.PathOf("x.dcpar")});
  REQUIRE(writer->SetUp({}).ok());
  dcp::SavePlan plan;
  plan.items.push_back({.fqn = "m",
                        .chunk = dcp::WholeBox({2}),
                        .global_size = {2},
                        .nbytes = 8});
  const auto global = dcp::CreateGlobalSavePlan({plan}, {}).value();
  const std::string none;
  const auto notes = writer->PrepareGlobalPlan(global, {&none, 1}).value();
  CHECK(directory.CountFiles() == 1);
  NoData source;
  CHECK(writer->WriteData(global.plans[0], notes[0], source).status().code() ==
        absl::StatusCode::kUnimplemented);
  writer->Abort();
  CHECK_FALSE(writer->commit_attempted());
  CHECK(directory.CountFiles() == 0);
}

TEST_CASE("a disk that is too small is noticed before anything is written",
          "[archive]") {
  const TemporaryDirectory directory;
  const auto writer = MakeArchiveWriter({.path = directory.PathOf("x.dcpar")});
  REQUIRE(writer->SetUp({}).ok());
  dcp::GlobalPlan plan{.plans = {dcp::SavePlan{}}};
  plan.plans[0].items.push_back({.fqn = "m", .nbytes = int64_t{1} << 60});
  const std::string none;
  const dcp::Status status =
      writer->PrepareGlobalPlan(plan, {&none, 1}).status();
  INFO(TextOf(status));
  CHECK_FALSE(status.ok());
  writer->Abort();
  CHECK(directory.CountFiles() == 0);
}

}  // namespace
}  // namespace examples
