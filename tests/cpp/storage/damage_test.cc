// What a reader does with files that are not what was written.

#include "storage/damage.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/tensor_cases.h"
#include "format/item_testing.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::State;
using conformance::Wanted;

State SomeState() {
  State state;
  state.objects["step"] = conformance::ObjectOf(7);
  state.tensors["small"] =
      conformance::RandomTensor(1, DType::kFloat32, {16, 3});
  state.tensors["large"] =
      conformance::RandomTensor(2, DType::kBFloat16, {1000, 1201});
  state.tensors["flag"] = conformance::RandomTensor(3, DType::kUInt8, {});
  return state;
}

/// The stored item whose bytes include byte `position` of `path`.
std::optional<MetadataIndex> ItemAt(const Metadata& metadata,
                                    const std::string& path, int64_t position) {
  for (const auto& [index, info] : metadata.storage_data) {
    if ("/ckpt/" + info.relative_path == path && position >= info.offset &&
        position < info.offset + info.length) {
      return index;
    }
  }
  return std::nullopt;
}

/// Flips one bit after the other in every file. Each must be found, or leave
/// every value as it was.
void CheckFlips(const State& state, std::shared_ptr<FileSystem> fs,
                uint64_t seed, int flips) {
  Random random(seed);
  const Metadata metadata = ReadMetadata(*fs);
  int found = 0;
  for (const std::string& path : FilesOf(*fs, "")) {
    const auto size = static_cast<int64_t>(GetFile(*fs, path).size());
    for (int i = 0; i < flips; ++i) {
      const int64_t byte = random.Between(0, size - 1);
      const int bit = static_cast<int>(random.Between(0, 7));
      INFO("seed " << seed << ", " << path << ", byte " << byte << ", bit "
                   << bit);
      FlipBit(*fs, path, static_cast<size_t>(byte), bit);
      std::vector<Wanted> wanted = AllOf(state);
      const Status status = LoadState(fs, {}, wanted);
      FlipBit(*fs, path, static_cast<size_t>(byte), bit);
      if (status.ok()) {
        CHECK(AllRight(state, wanted));
        continue;
      }
      ++found;
      const std::string message(Message(status));
      INFO(message);
      const auto item = ItemAt(metadata, path, byte);
      if (!item) continue;
      CHECK(status.code() == absl::StatusCode::kDataLoss);
      CHECK_THAT(message, Contains(path.substr(std::string("/ckpt/").size())));
      CHECK_THAT(message, Contains("offset="));
      const auto detail = GetErrorDetail(status);
      REQUIRE(detail.has_value());
      CHECK_FALSE(detail->fqn.empty());
    }
  }
  CHECK(found > 0);
}

TEST_CASE("a flipped bit in a file of ours is found, or changes nothing",
          "[storage][damage]") {
  const State state = SomeState();
  CheckFlips(state, Saved(state, {}), 1, 150);
}

TEST_CASE("a flipped bit in compressed files is found, or changes nothing",
          "[storage][damage]") {
  const State state = SomeState();
  CheckFlips(state, Saved(state, {.compression = Compression::kZstd}), 2, 60);
}

TEST_CASE(
    "a flipped bit in a data file of torch's is found, or changes nothing",
    "[storage][damage]") {
  const State state = SomeState();
  auto fs = SavedAsStock(state);
  // torch's own `.metadata` has no checksum: damage there may go unnoticed.
  const std::string metadata = GetFile(*fs, "/ckpt/.metadata");
  Random random(3);
  for (const std::string& path : FilesOf(*fs, "__")) {
    const std::string good = GetFile(*fs, path);
    for (int i = 0; i < 300; ++i) {
      const auto byte = static_cast<size_t>(
          random.OneIn(2)
              ? random.Between(0, static_cast<int64_t>(good.size()) - 1)
              : random.Between(0, 4000));
      const int bit = static_cast<int>(random.Between(0, 7));
      INFO(path << ", byte " << byte << ", bit " << bit);
      FlipBit(*fs, path, byte, bit);
      std::vector<Wanted> wanted = AllOf(state);
      const Status status = LoadState(fs, {}, wanted);
      PutFile(*fs, path, good);
      INFO(Message(status));
      if (status.ok()) {
        CHECK(AllRight(state, wanted));
        continue;
      }
      const auto detail = GetErrorDetail(status);
      REQUIRE(detail.has_value());
      CHECK_FALSE(detail->fqn.empty());
      CHECK_FALSE(detail->path.empty());
      CHECK(detail->byte_offset.has_value());
    }
  }
}

/// Where an item holds a byte that matters: of its data, or of the pickle.
int64_t ContentOffset(const std::string& file, const StorageInfo& info) {
  const auto parsed = ParseItem(std::string_view(file).substr(
      static_cast<size_t>(info.offset), static_cast<size_t>(info.length)));
  constexpr int64_t kPickle = kItemAlignment + 1;
  return parsed.ok() && !parsed->needs_torch
             ? parsed->data_offset + parsed->data_nbytes / 2
             : kPickle;
}

TEST_CASE("a flipped bit in content names the key, the file and the offset",
          "[storage][damage]") {
  const State state = SomeState();
  for (bool stock : {false, true}) {
    auto fs = stock ? SavedAsStock(state) : Saved(state, {});
    const Metadata metadata = ReadMetadata(*fs);
    for (const auto& [index, info] : metadata.storage_data) {
      INFO(ToString(index) << (stock ? ", stock" : ", ours"));
      const std::string path = "/ckpt/" + info.relative_path;
      const std::string good = GetFile(*fs, path);
      const int64_t byte = info.offset + ContentOffset(good, info);
      FlipBit(*fs, path, static_cast<size_t>(byte), 0);
      std::vector<Wanted> wanted = AllOf(state);
      std::erase_if(wanted,
                    [&](const Wanted& w) { return w.fqn != index.fqn; });
      const Status status = LoadState(fs, {}, wanted);
      PutFile(*fs, path, good);
      INFO(Message(status));
      CHECK(status.code() == absl::StatusCode::kDataLoss);
      const auto detail = GetErrorDetail(status);
      REQUIRE(detail.has_value());
      CHECK(detail->fqn == index.fqn);
      CHECK(detail->path == path);
      REQUIRE(detail->byte_offset.has_value());
      CHECK(*detail->byte_offset <= byte);
      CHECK(*detail->byte_offset + detail->nbytes.value_or(0) > byte);
    }
  }
}

TEST_CASE("a sidecar that is gone or damaged is corruption",
          "[storage][damage]") {
  const State state = SomeState();
  const auto damage = GENERATE(0, 1, 2);
  auto fs = Saved(state, {});
  const std::string path = FilesOf(*fs, ".dcpcpp-").at(0);
  const std::string good = GetFile(*fs, path);
  if (damage == 0) DCP_CHECK_OK(fs->Remove(path));
  if (damage == 1) PutFile(*fs, path, good.substr(0, good.size() / 2));
  if (damage == 2) FlipBit(*fs, path, good.size() / 2, 1);
  std::vector<Wanted> wanted = AllOf(state);
  const Status status = LoadState(fs, {}, wanted);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains(path));
  // Whoever asks for no checks gets what can be read.
  wanted = AllOf(state);
  DCP_CHECK_OK(LoadState(fs, {.verify = false}, wanted));
  CHECK(AllRight(state, wanted));
}

TEST_CASE("without verification damaged bytes are delivered as they are",
          "[storage][damage]") {
  const State state = SomeState();
  for (bool stock : {false, true}) {
    auto fs = stock ? SavedAsStock(state) : Saved(state, {});
    const Metadata metadata = ReadMetadata(*fs);
    for (const auto& [index, info] : metadata.storage_data) {
      if (index.fqn != "large") continue;
      FlipBit(*fs, "/ckpt/" + info.relative_path,
              static_cast<size_t>(info.offset + info.length / 2), 0);
    }
    std::vector<Wanted> wanted = AllOf(state);
    DCP_CHECK_OK(LoadState(fs, {.verify = false}, wanted));
    CHECK_FALSE(AllRight(state, wanted));
  }
}

TEST_CASE("a file of another save of the same shape does not pass",
          "[storage][damage]") {
  State other = SomeState();
  other.tensors["small"].bytes[5] ^= 1;
  const State state = SomeState();
  auto fs = Saved(state, {});
  auto fs2 = Saved(other, {});
  for (const std::string& path : FilesOf(*fs, "__")) {
    const std::string good = GetFile(*fs, path);
    if (good == GetFile(*fs2, path)) continue;
    PutFile(*fs, path, GetFile(*fs2, path));
    std::vector<Wanted> wanted = AllOf(state);
    CHECK(LoadState(fs, {}, wanted).code() == absl::StatusCode::kDataLoss);
    PutFile(*fs, path, good);
  }
  PutFile(*fs, "/ckpt/.metadata", GetFile(*fs2, "/ckpt/.metadata"));
  std::vector<Wanted> wanted = AllOf(state);
  CHECK(LoadState(fs, {}, wanted).code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("a data file that is cut, longer or gone is an error",
          "[storage][damage]") {
  const State state = SomeState();
  for (bool stock : {false, true}) {
    auto fs = stock ? SavedAsStock(state) : Saved(state, {});
    for (const std::string& path : FilesOf(*fs, "__")) {
      const std::string good = GetFile(*fs, path);
      for (const std::string& bad :
           {good.substr(0, good.size() - 1), good.substr(0, 100), std::string(),
            good + "x"}) {
        INFO(path << ", " << bad.size() << " of " << good.size() << " bytes"
                  << (stock ? ", stock" : ", ours"));
        PutFile(*fs, path, bad);
        std::vector<Wanted> wanted = AllOf(state);
        const Status status = LoadState(fs, {}, wanted);
        if (stock && bad.size() > good.size()) {
          DCP_CHECK_OK(status);  // nothing says how long the file was
        } else {
          CHECK(status.code() == absl::StatusCode::kDataLoss);
          CHECK_THAT(std::string(Message(status)), Contains(path));
        }
      }
      DCP_CHECK_OK(fs->Remove(path));
      std::vector<Wanted> wanted = AllOf(state);
      const Status status = LoadState(fs, {}, wanted);
      CHECK(status.code() == absl::StatusCode::kNotFound);
      CHECK_THAT(std::string(Message(status)), Contains(path));
      PutFile(*fs, path, good);
    }
  }
}

}  // namespace
}  // namespace dcp
