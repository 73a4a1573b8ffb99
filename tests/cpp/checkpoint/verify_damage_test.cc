// Verify: what it says of every kind of damage.

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/rank_threads.h"
#include "checkpoint/verify_testing.h"
#include "format/sidecar.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::State;
using conformance::Wanted;

/// Flips bits all over `path` and checks that each is reported, with the keys
/// of all items in the mebibyte around it.
void CheckFlipsInOurs(std::shared_ptr<FileSystem> fs, const std::string& path,
                      Random& random, int flips) {
  const Metadata metadata = ReadMetadata(*fs);
  const std::string good = GetFile(*fs, path);
  const auto size = static_cast<int64_t>(good.size());
  for (int i = 0; i < flips; ++i) {
    const int64_t byte = random.Between(0, size - 1);
    const int bit = static_cast<int>(random.Between(0, 7));
    INFO(path << ", byte " << byte << ", bit " << bit);
    FlipBit(*fs, path, static_cast<size_t>(byte), bit);
    const std::vector<Damage> damages = DamagesIn(fs);
    PutFile(*fs, path, good);
    INFO(Describe(damages));
    REQUIRE_FALSE(damages.empty());
    if (!path.starts_with("/ckpt/__")) continue;
    const int64_t cell = byte / kSidecarBlockNbytes * kSidecarBlockNbytes;
    const int64_t end = std::min(cell + kSidecarBlockNbytes, size);
    auto expected = ItemsIn(metadata, path, cell, end);
    if (expected.empty()) expected = {""};
    CHECK(KeysIn(damages, path) == expected);
    for (const Damage& damage : damages) {
      CHECK(damage.path == path);
      CHECK(damage.byte_offset == cell);
      CHECK(damage.nbytes == end - cell);
    }
  }
}

TEST_CASE("every flipped bit in every file of ours is reported, with all keys",
          "[checkpoint][verify]") {
  const State state = MixedState();
  const bool zstd = GENERATE(false, true);
  auto fs = zstd ? SavedCompressed(state, false) : Saved(state, {});
  Random random(zstd ? 11 : 12);
  for (const std::string& path : FilesOf(*fs, "")) {
    CheckFlipsInOurs(fs, path, random, 100);
  }
}

TEST_CASE("every flipped bit that changes a value of torch's is reported",
          "[checkpoint][verify]") {
  const State state = MixedState();
  const bool zstd = GENERATE(false, true);
  auto fs = zstd ? SavedCompressed(state, true) : SavedAsStock(state);
  const Metadata metadata = ReadMetadata(*fs);
  Random random(zstd ? 21 : 22);
  int harmless = 0;
  int reported = 0;
  for (const std::string& path : FilesOf(*fs, "__")) {
    const std::string good = GetFile(*fs, path);
    for (int i = 0; i < 200; ++i) {
      const int64_t end = static_cast<int64_t>(good.size()) - 1;
      const int64_t byte = random.Between(
          0, random.OneIn(2) ? end : std::min<int64_t>(end, 4000));
      const int bit = static_cast<int>(random.Between(0, 7));
      INFO(path << ", byte " << byte << ", bit " << bit);
      FlipBit(*fs, path, static_cast<size_t>(byte), bit);
      const std::vector<Damage> damages = DamagesIn(fs);
      std::vector<Wanted> wanted = AllOf(state);
      const Status loaded = LoadState(fs, {.verify = false}, wanted);
      PutFile(*fs, path, good);
      INFO(Describe(damages));
      if (damages.empty()) {
        ++harmless;
        DCP_CHECK_OK(loaded);
        CHECK(AllRight(state, wanted));
        continue;
      }
      ++reported;
      for (const Damage& damage : damages) {
        CHECK(std::all_of(damage.message.begin(), damage.message.end(),
                          [](char c) { return c >= ' ' && c <= '~'; }));
        CHECK(damage.message.find(path) == std::string::npos);
      }
      CHECK(KeysIn(damages, path) == ItemsIn(metadata, path, byte, byte + 1));
    }
  }
  CHECK(reported > 200);
  CHECK(harmless < reported);
}

TEST_CASE("files that are cut, longer or gone are named with their tensors",
          "[checkpoint][verify]") {
  const State state = MixedState();
  const bool stock = GENERATE(false, true);
  auto fs = stock ? SavedAsStock(state) : Saved(state, {});
  const Metadata metadata = ReadMetadata(*fs);
  for (const std::string& path : FilesOf(*fs, "__")) {
    const std::string good = GetFile(*fs, path);
    const auto size = static_cast<int64_t>(good.size());
    const auto all = ItemsIn(metadata, path, 0, size);
    for (const int64_t cut : {int64_t{0}, int64_t{100}, size / 2, size - 1}) {
      INFO(path << " cut to " << cut << (stock ? ", stock" : ", ours"));
      PutFile(*fs, path, good.substr(0, static_cast<size_t>(cut)));
      const auto keys = KeysIn(DamagesIn(fs), path);
      const auto lost = ItemsIn(metadata, path, cut, size);
      CHECK(std::includes(keys.begin(), keys.end(), lost.begin(), lost.end()));
      CHECK(std::includes(all.begin(), all.end(), keys.begin(), keys.end()));
    }
    PutFile(*fs, path, good + "more");
    const auto damages = DamagesIn(fs);
    REQUIRE(damages.size() == 1);
    CHECK(damages[0].byte_offset == size);
    CHECK(damages[0].nbytes == 4);
    DCP_CHECK_OK(fs->Remove(path));
    const auto missing = DamagesIn(fs);
    CHECK(KeysIn(missing, path) == all);
    CHECK(missing[0].message == "the file is missing");
    PutFile(*fs, path, good);
  }
}

TEST_CASE("files of another rank, or of another step, do not pass",
          "[checkpoint][verify]") {
  const State state = MixedState();
  State other = state;
  for (auto& [fqn, tensor] : other.tensors) tensor.bytes[0] ^= 1;
  auto fs = Saved(state, {});
  auto fs2 = Saved(other, {});
  const auto files = FilesOf(*fs, "__");
  const std::string first = GetFile(*fs, files[0]);
  const std::string second = GetFile(*fs, files[1]);
  PutFile(*fs, files[0], second);
  PutFile(*fs, files[1], first);
  CHECK_FALSE(KeysIn(DamagesIn(fs), files[0]).empty());
  CHECK_FALSE(KeysIn(DamagesIn(fs), files[1]).empty());
  PutFile(*fs, files[1], second);
  PutFile(*fs, files[0], GetFile(*fs2, files[0]));
  CHECK_FALSE(KeysIn(DamagesIn(fs), files[0]).empty());
  PutFile(*fs, files[0], first);
  CHECK(DamagesIn(fs).empty());
  PutFile(*fs, "/ckpt/.metadata", GetFile(*fs2, "/ckpt/.metadata"));
  CHECK_FALSE(DamagesIn(fs).empty());
}

TEST_CASE("a sidecar that is gone is damage, and the items are still checked",
          "[checkpoint][verify]") {
  auto fs = Saved(MixedState(), {});
  const std::string sidecar = FilesOf(*fs, ".dcpcpp-").at(0);
  DCP_CHECK_OK(fs->Remove(sidecar));
  auto damages = DamagesIn(fs);
  REQUIRE(damages.size() == 1);
  CHECK(damages[0].path == sidecar);
  CHECK_THAT(damages[0].message, Contains("missing"));
  for (const auto& [index, info] : ReadMetadata(*fs).storage_data) {
    if (index.fqn != "large") continue;
    FlipBit(*fs, "/ckpt/" + info.relative_path,
            static_cast<size_t>(info.offset + info.length / 2), 0);
  }
  damages = DamagesIn(fs);
  CHECK(damages.size() == 3);  // two chunks of the tensor
  CHECK(std::count_if(damages.begin(), damages.end(),
                      [](const Damage& d) { return d.fqn == "large"; }) == 2);
}

TEST_CASE("metadata that cannot be read leaves the files' own checksums",
          "[checkpoint][verify]") {
  auto fs = Saved(MixedState(), {});
  const std::string good = GetFile(*fs, "/ckpt/.metadata");
  PutFile(*fs, "/ckpt/.metadata", good.substr(0, good.size() / 2));
  const std::string path = FilesOf(*fs, "__").at(0);
  FlipBit(*fs, path, 5000, 1);
  const auto damages = DamagesIn(fs);
  INFO(Describe(damages));
  REQUIRE(damages.size() == 2);
  CHECK(damages[0].path == "/ckpt/.metadata");
  CHECK(damages[1].path == path);
}

/// One thing that metadata may wrongly say.
struct MetadataFault {
  std::string name;
  std::function<void(Metadata&)> apply;
  std::string fqn;
  std::string message;
};

StorageInfo& PlaceOf(Metadata& metadata, const std::string& fqn) {
  return std::find_if(metadata.storage_data.begin(),
                      metadata.storage_data.end(),
                      [&](const auto& item) { return item.first.fqn == fqn; })
      ->second;
}

TensorStorageMetadata& TensorOf(Metadata& metadata, const std::string& fqn) {
  return std::get<TensorStorageMetadata>(*metadata.FindMutable(fqn));
}

std::vector<MetadataFault> MetadataFaults() {
  return {
      {"no place", [](Metadata& m) { m.storage_data.erase({.fqn = "step"}); },
       "step", "does not say where step"},
      {"a path outside",
       [](Metadata& m) { PlaceOf(m, "step").relative_path = "../x"; }, "step",
       ".."},
      {"a file that is not there",
       [](Metadata& m) { PlaceOf(m, "step").relative_path = "__9_9.distcp"; },
       "step", "the file is missing"},
      {"beyond the end",
       [](Metadata& m) { PlaceOf(m, "step").offset += 1 << 30; }, "step",
       "before an item"},
      {"a transform that nobody knows",
       [](Metadata& m) {
         PlaceOf(m, "step").transform_descriptors = {"rot13"};
       },
       "step", "rot13"},
      {"into another item",
       [](Metadata& m) {
         PlaceOf(m, "flag").offset = PlaceOf(m, "step").offset + 1;
         PlaceOf(m, "flag").relative_path = PlaceOf(m, "step").relative_path;
       },
       "flag", "overlaps that of step"},
      {"gaps", [](Metadata& m) { TensorOf(m, "large").chunks.pop_back(); },
       "large", "has gaps"},
      {"another dtype of the same size",
       [](Metadata& m) {
         TensorOf(m, "small").properties.dtype = DType::kInt32;
       },
       "small", "of type float32, the metadata says int32"},
      {"another dtype of the same size, of a large item",
       [](Metadata& m) {
         TensorOf(m, "large").properties.dtype = DType::kInt32;
       },
       "large", "of type float32, the metadata says int32"},
  };
}

TEST_CASE("what the metadata promises is checked", "[checkpoint][verify]") {
  const State state = MixedState();
  for (const MetadataFault& fault : MetadataFaults()) {
    INFO(fault.name);
    auto fs = SavedAsStock(state);
    Metadata metadata = ReadMetadata(*fs);
    fault.apply(metadata);
    PutStockMetadata(*fs, metadata);
    const auto damages = DamagesIn(fs);
    INFO(Describe(damages));
    CHECK(std::any_of(damages.begin(), damages.end(), [&](const Damage& d) {
      return d.fqn == fault.fqn &&
             d.message.find(fault.message) != std::string::npos;
    }));
  }
}

}  // namespace
}  // namespace dcp
