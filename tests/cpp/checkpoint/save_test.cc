// What a save writes, where, and under which names.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::SmallState;
using conformance::State;
using conformance::StorageUnderTest;

StorageUnderTest NativeOn(std::shared_ptr<FileSystem> fs,
                          FileSystemWriterOptions writer = {}) {
  return NativeStorage(
      NativePlace{.fs = std::move(fs), .writer = std::move(writer)});
}

/// Bytes of the items that each file holds, by file name.
std::map<std::string, int64_t> BytesByFile(const Metadata& metadata) {
  std::map<std::string, int64_t> nbytes;
  for (const auto& [index, info] : metadata.storage_data) {
    nbytes[info.relative_path] += info.length;
  }
  return nbytes;
}

TEST_CASE("what all ranks hold is stored once, and shared between them",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  State state;
  for (int i = 0; i < 12; ++i) {
    state.tensors["t" + std::to_string(i)] =
        RandomTensor(static_cast<uint64_t>(i), DType::kFloat32, {100, 30});
  }
  state.objects["step"] = conformance::ObjectOf(3);
  RequireAllSucceed(SaveOnRanks(Replicated(state, 4), NativeOn(fs)));
  CheckHolds(NativeOn(fs), state);
  const Metadata metadata = ReadMetadata(*fs);
  CHECK(metadata.storage_data.size() == 13);
  const auto nbytes = BytesByFile(metadata);
  REQUIRE(nbytes.size() == 4);
  for (const auto& [file, n] : nbytes) {
    INFO(file);
    CHECK(n > 3 * 12000);
    CHECK(n < 3 * 12000 + 10000);
  }
}

TEST_CASE("dedup_to_lowest_rank gives rank 0 what all hold", "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const State state = SmallState(1);
  RequireAllSucceed(SaveOnRanks(Replicated(state, 3), NativeOn(fs),
                                {.dedup_to_lowest_rank = true}));
  CheckHolds(NativeOn(fs), state);
  const auto nbytes = BytesByFile(ReadMetadata(*fs));
  CHECK(nbytes.size() == 1);
  CHECK(nbytes.count("__0_0.distcp") == 1);
}

TEST_CASE("a large tensor that all ranks hold is written in parts by all",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  State state;
  state.tensors["large"] = RandomTensor(1, DType::kFloat32, {1001, 50});
  RequireAllSucceed(SaveOnRanks(Replicated(state, 3), NativeOn(fs),
                                {.split_nbytes = 100000}));
  CheckHolds(NativeOn(fs), state);
  const Metadata metadata = ReadMetadata(*fs);
  CHECK(metadata.FindTensor("large")->chunks.size() == 3);
  CHECK(BytesByFile(metadata).size() == 3);
}

TEST_CASE("every rank gets the metadata that was published", "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const auto results = SaveOnRanks(Sharded(SmallState(1), 3), NativeOn(fs));
  RequireAllSucceed(results);
  for (const auto& result : results) {
    CHECK(result->metadata_pickle == GetFile(*fs, "/ckpt/.metadata"));
    CHECK(result->metadata().ok());
  }
}

TEST_CASE("paths are recorded unless the caller does not want them",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  AllEntries entries = Sharded(SmallState(1), 2);
  entries[0].entries()[0].path = {std::string("a"), int64_t{3}};
  RequireAllSucceed(SaveOnRanks(entries, NativeOn(fs)));
  const auto paths = ReadMetadata(*fs).planner_data;
  REQUIRE(paths.has_value());
  CHECK(paths->at("step") == ObjectPath{std::string("a"), int64_t{3}});
  CHECK(paths->at("bias") == ObjectPath{std::string("bias")});
  RequireAllSucceed(
      SaveOnRanks(entries, NativeOn(fs), {.record_paths = false}));
  CHECK_FALSE(ReadMetadata(*fs).planner_data.has_value());
}

TEST_CASE("an overwrite takes new names and removes what is nobody's any more",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 3), NativeOn(fs)));
  const std::string old_sidecar = FilesOf(*fs, ".dcpcpp-").at(0);
  PutFile(*fs, "/ckpt/config.json", "{}");
  PutFile(*fs, "/ckpt/__1_7.distcp", "left over");
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(2), 2), NativeOn(fs)));
  CheckHolds(NativeOn(fs), SmallState(2));
  CHECK(FilesOf(*fs, "__") ==
        std::vector<std::string>{"/ckpt/__0_1.distcp", "/ckpt/__1_8.distcp"});
  CHECK(GetFile(*fs, "/ckpt/config.json") == "{}");
  CHECK(FilesOf(*fs, ".dcpcpp-").size() == 1);
  CHECK(FilesOf(*fs, ".dcpcpp-").at(0) != old_sidecar);
}

TEST_CASE("overwrite = false refuses what is there, on all ranks",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const StorageUnderTest careful = NativeOn(fs, {.overwrite = false});
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 2), careful));
  const auto before = FilesOf(*fs, "");
  const auto results = SaveOnRanks(Sharded(SmallState(2), 2), careful);
  RequireSameFailures(results);
  CHECK_THAT(std::string(Message(results[1].status())),
             Contains("already exists"));
  CHECK(FilesOf(*fs, "") == before);
  CheckHolds(careful, SmallState(1));
}

TEST_CASE("a save id that was used before harms no checkpoint",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const StorageUnderTest storage = NativeOn(fs, {.save_id = "dcpcpp-0123abcd"});
  RequireAllSucceed(SaveOnRanks(Sharded(SmallState(1), 2), storage));
  const auto results = SaveOnRanks(Sharded(SmallState(2), 2), storage);
  RequireSameFailures(results);
  CHECK(results[0].status().code() == absl::StatusCode::kAlreadyExists);
  CheckHolds(storage, SmallState(1));
}

TEST_CASE("tensors are stored in the dtype of the export", "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  State state;
  state.tensors["f"] = {.dtype = DType::kFloat32, .sizes = {2}};
  state.tensors["f"].bytes = std::string("\0\0\x80\x3f\0\0\x40\xc0", 8);
  state.tensors["i"] = RandomTensor(1, DType::kInt32, {3});
  for (auto compression : {Compression::kNone, Compression::kZstd}) {
    const StorageUnderTest storage = NativeOn(
        fs, {.compression = compression, .export_dtype = DType::kBFloat16});
    RequireAllSucceed(SaveOnRanks(Sharded(state, 2), storage));
    State stored = state;
    stored.tensors["f"] = {.dtype = DType::kBFloat16,
                           .sizes = {2},
                           .bytes = std::string("\x80\x3f\x40\xc0", 4)};
    CheckHolds(storage, stored);
    const Metadata metadata = ReadMetadata(*fs);
    CHECK(metadata.FindTensor("f")->properties.dtype == DType::kBFloat16);
    CHECK(metadata.FindTensor("i")->properties.dtype == DType::kInt32);
  }
}

TEST_CASE("without collectives every rank has a checkpoint of its own",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  const State state = SmallState(1);
  for (int round = 0; round < 2; ++round) {
    RequireAllSucceed(SaveOnRanks(Sharded(state, 2), NativeOn(fs),
                                  {.use_collectives = false}));
    CHECK(FilesOf(*fs, ".metadata").empty());
    CHECK(FilesOf(*fs, "__").size() == 4);
    CHECK(FilesOf(*fs, ".dcpcpp-").size() == 2);
    const auto holdings = conformance::ShardedState(state, 2);
    std::vector<std::vector<conformance::Wanted>> wanted(2);
    for (size_t rank = 0; rank < 2; ++rank) {
      for (const WriteItem& item : holdings[rank]) {
        wanted[rank].push_back({.fqn = item.fqn,
                                .box = item.chunk,
                                .dtype = item.properties.dtype});
      }
    }
    RequireAllSucceed(LoadOnRanks(wanted, NativeOn(fs)));
    for (const auto& mine : wanted) CHECK(AllRight(state, mine));
  }
}

TEST_CASE("without collectives, too, ranks learn of each other's failures",
          "[checkpoint]") {
  auto fs = MakeMemoryFileSystem();
  AllEntries entries = Sharded(SmallState(1), 2);
  std::get<TensorShard>(entries[1].entries()[0].value).global_size = {1, 1};
  const auto results =
      SaveOnRanks(entries, NativeOn(fs), {.use_collectives = false});
  CHECK_FALSE(results[0].ok());
  CHECK_FALSE(results[1].ok());
  CHECK(FilesOf(*fs, "__1").empty());
}

TEST_CASE("one process needs a path and its entries", "[checkpoint]") {
  const testing::TempDirectory temp;
  const State state = SmallState(4);
  const AllEntries entries = Replicated(state, 1);
  const auto saved = Save(temp.path() + "/step-1", entries[0].span());
  INFO(Message(saved.status()));
  REQUIRE(saved.ok());
  std::string weight(state.tensors.at("weight").bytes.size(), '?');
  const std::vector<LoadEntry> wanted = {
      TensorLoad("weight",
                 ContiguousView(weight.data(), DType::kFloat32, {64, 32})),
      ObjectLoad("step")};
  const auto loaded = Load(temp.path() + "/step-1", wanted);
  REQUIRE(loaded.ok());
  CHECK((weight == state.tensors.at("weight").bytes));
  REQUIRE(loaded->objects.size() == 1);
  CHECK(loaded->objects[0].bytes == state.objects.at("step"));
  CHECK(loaded->unexpected == std::vector<std::string>{"bias"});
}

}  // namespace
}  // namespace dcp
