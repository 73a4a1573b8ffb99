// Which safetensors files are checked by which sidecar, and that damage is
// found.

#include "storage/hugging_face_manifest.h"

#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/hugging_face_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::MustReadFile;

const std::string kSingle = kModel + "/model.safetensors";
const std::string kIndexPath = kModel + "/model.safetensors.index.json";
const std::string kSidecarPath = kModel + "/.dcpcpp-00000001";

std::shared_ptr<FileSystem> Saved(const SmallModel& model) {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(kModel));
  DCP_CHECK_OK(SaveModel(fs, {.model = model}));
  return fs;
}

void Put(FileSystem& fs, const std::string& path, const std::string& bytes) {
  fs.Remove(path).IgnoreError();
  DCP_CHECK_OK(WriteFile(fs, path, bytes, SyncMode::kNone));
}

Status Read(const std::shared_ptr<FileSystem>& fs) {
  std::map<std::string, float> values;
  return ReadModel(fs, &values);
}

std::string Damage(const std::shared_ptr<FileSystem>& fs) {
  const Status status = Read(fs);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  return std::string(Message(status));
}

TEST_CASE("a flipped bit anywhere in what dcp wrote is found", "[storage]") {
  // Files of more than one block, the last of them short.
  const int64_t shards = GENERATE(1, 2);
  const SmallModel model{.value = 1, .shards = shards, .elements = 400000};
  const auto fs = Saved(model);
  REQUIRE(FindModel(fs).Is(model));
  std::vector<std::string> paths = {kSingle};
  if (shards == 2) {
    paths = {kModel + "/model-00001-of-00002.safetensors",
             kModel + "/model-00002-of-00002.safetensors", kIndexPath};
  }
  std::mt19937_64 random(static_cast<uint64_t>(shards));
  for (const std::string& path : paths) {
    const std::string bytes = MustReadFile(*fs, path);
    for (int draw = 0; draw < 60; ++draw) {
      // Also what comes first, often: lengths and headers.
      const size_t range =
          draw % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 200);
      const size_t at = random() % range;
      const int bit = static_cast<int>(random() % 8);
      INFO(path << ", byte " << at << ", bit " << bit);
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      Put(*fs, path, damaged);
      CHECK(Read(fs).code() == absl::StatusCode::kDataLoss);
    }
    Put(*fs, path, bytes);
  }
  REQUIRE(FindModel(fs).Is(model));
}

TEST_CASE("every bit of an index is checked", "[storage]") {
  const auto fs = Saved({.value = 1, .shards = 2, .elements = 4});
  const std::string bytes = MustReadFile(*fs, kIndexPath);
  for (size_t i = 0; i < 8 * bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    Put(*fs, kIndexPath, damaged);
    CAPTURE(i);
    CHECK(Read(fs).code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("an index of ours needs its sidecar", "[storage]") {
  const auto fs = Saved({.value = 1, .shards = 2});
  SECTION("missing") {
    DCP_CHECK_OK(fs->Remove(kSidecarPath));
    CHECK_THAT(Damage(fs), Contains("file of checksums is missing"));
  }
  SECTION("damaged") {
    Put(*fs, kSidecarPath, MustReadFile(*fs, kSidecarPath) + "x");
    CHECK_THAT(Damage(fs), Contains("does not match its CRC-32"));
  }
  SECTION("of other files") {
    Sidecar sidecar = ParseSidecar(MustReadFile(*fs, kSidecarPath)).value();
    sidecar.files.pop_back();
    Put(*fs, kSidecarPath, SerializeSidecar(sidecar));
    CHECK_THAT(Damage(fs),
               Contains("does not list model-00002-of-00002.safetensors"));
  }
  SECTION("not for who asked for no checks") {
    DCP_CHECK_OK(fs->Remove(kSidecarPath));
    auto opened = Checkpoint::Open(
        MakeHuggingFaceReader({.path = kModel, .verify = false, .io = kModelIo},
                              {.file_system = fs}));
    CHECK(opened.ok());
  }
}

TEST_CASE("a file of another length than was written is damage", "[storage]") {
  const auto fs = Saved({.value = 1, .shards = 2});
  const std::string path = kModel + "/model-00001-of-00002.safetensors";
  Put(*fs, path, BytesOfShard({.value = 1, .elements = 301}, 0).all);
  CHECK_THAT(Damage(fs), Contains("were written"));
}

TEST_CASE("an index of another program is not bound to a sidecar",
          "[storage]") {
  const SmallModel model{.value = 1, .shards = 2};
  const auto fs = Saved(model);
  auto index = ParseSafetensorsIndex(MustReadFile(*fs, kIndexPath)).value();
  index.save_id.reset();
  Put(*fs, kIndexPath, SerializeSafetensorsIndex(index).value());
  const std::string path = kModel + "/model-00001-of-00002.safetensors";
  Put(*fs, path, BytesOfShard({.value = 9}, 0).all);
  std::map<std::string, float> values;
  DCP_CHECK_OK(ReadModel(fs, &values));
  CHECK(values == std::map<std::string, float>{{"layer0", 9}, {"layer1", 1}});
}

TEST_CASE("a single file is bound to the sidecar that lists it", "[storage]") {
  const auto fs = Saved({.value = 1});
  SECTION("of the same size, it is damage or another program's") {
    std::string bytes = MustReadFile(*fs, kSingle);
    bytes[12] = static_cast<char>(bytes[12] ^ 1);
    Put(*fs, kSingle, bytes);
    CHECK_THAT(Damage(fs), Contains("if another program has written it since, "
                                    "remove .dcpcpp-00000001"));
    DCP_CHECK_OK(fs->Remove(kSidecarPath));
    Put(*fs, kSingle, BytesOfShard({.value = 9}, 0).all);
    CHECK(FindModel(fs).Is({.value = 9}));
  }
  SECTION("of another size, it is another program's") {
    const SmallModel other{.value = 9, .elements = 301};
    Put(*fs, kSingle, BytesOfShard(other, 0).all);
    CHECK(FindModel(fs).Is(other));
  }
  SECTION("of which one of several agrees") {
    Sidecar older = ParseSidecar(MustReadFile(*fs, kSidecarPath)).value();
    older.save_id = "dcpcpp-00000000";
    older.metadata_crc32 ^= 1;
    older.files[0].block_crcs[0] ^= 1;
    Put(*fs, kModel + "/.dcpcpp-00000000", SerializeSidecar(older));
    CHECK(FindModel(fs).Is({.value = 1}));
  }
  SECTION("and half a sidecar is none") {
    Put(*fs, kModel + "/.dcpcpp-00000002", "DCPCPP");
    CHECK(FindModel(fs).Is({.value = 1}));
  }
}

TEST_CASE("numbered files without the index of their save do not count",
          "[storage]") {
  const auto fs = Saved({.value = 1, .shards = 2});
  DCP_CHECK_OK(fs->Remove(kIndexPath));
  CHECK_THAT(std::string(Message(Read(fs))),
             Contains("has not published them"));
  CHECK(FindModel(fs).problem == "none");
  Put(*fs, kSingle, BytesOfShard({.value = 9}, 0).all);
  CHECK(FindModel(fs).Is({.value = 9}));
  // Without the sidecar nobody knows whose they are.
  DCP_CHECK_OK(fs->Remove(kSingle));
  DCP_CHECK_OK(fs->Remove(kSidecarPath));
  CHECK(FindModel(fs).Is({.value = 1, .shards = 2}));
}

TEST_CASE("a load begins again when safetensors are replaced", "[storage]") {
  const auto fs = Saved({.value = 1});
  const auto reader = MakeHuggingFaceReader({.path = kModel, .io = kModelIo},
                                            {.file_system = fs});
  const auto before = reader->ReadIndex();
  REQUIRE(before.ok());
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-2", .model = {.value = 2}}));
  // Same names, sizes and headers: only the checksums tell.
  std::vector<float> values(300, -1.0F);
  const std::vector<LoadEntry> entries = {ShardLoad(
      "layer0", ContiguousView(values.data(), DType::kFloat32, Dims{300}),
      Dims{300}, Dims{0})};
  class Request final : public LoadRequest {
   public:
    explicit Request(const std::vector<LoadEntry>& wanted) : wanted_(wanted) {}
    StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
      return wanted_;
    }

   private:
    const std::vector<LoadEntry>& wanted_;
  };
  /// Gives the old index once.
  class OldIndexFirst final : public StorageReader {
   public:
    OldIndexFirst(StorageReader& base, CheckpointIndex index)
        : base_(base), index_(std::move(index)) {}
    StatusOr<CheckpointIndex> ReadIndex() override {
      if (is_first_) {
        is_first_ = false;
        return index_;
      }
      return base_.ReadIndex();
    }
    StatusOr<CheckpointIndex> ReadRankIndex(int rank) override {
      return base_.ReadRankIndex(rank);
    }
    Status SetUp(const CheckpointIndex& index,
                 const StorageRole& role) override {
      return base_.SetUp(index, role);
    }
    Status OpenData(const LoadPlan& plan) override {
      return base_.OpenData(plan);
    }
    Status ReadData(const LoadPlan& plan, ReadTarget& target) override {
      return base_.ReadData(plan, target);
    }

   private:
    StorageReader& base_;
    const CheckpointIndex index_;
    bool is_first_ = true;
  };
  OldIndexFirst stale(*reader, *before);
  Request request(entries);
  const auto transport = MakeSingleProcessTransport();
  const auto loaded = Load(request, stale, *transport, {});
  INFO(Message(loaded.status()));
  REQUIRE(loaded.ok());
  CHECK(OneValue(values) == 2);
}

}  // namespace
}  // namespace dcp
