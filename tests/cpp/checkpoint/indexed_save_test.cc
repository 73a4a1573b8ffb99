// Checkpoints with indexed metadata: what saves write, and what each rank of a
// load reads of it.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/copy_testing.h"
#include "checkpoint/indexed_place.h"
#include "checkpoint/rank_threads.h"
#include "checkpoint/verify_testing.h"
#include "format/file_names.h"
#include "format/indexed_trailer.h"
#include "format/sidecar.h"
#include "storage/damage.h"
#include "storage/indexed_file.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::SmallState;
using conformance::State;
using conformance::Wanted;

std::vector<StatusOr<LoadResult>> LoadAll(const NativePlace& place,
                                          const State& state, int world_size) {
  std::vector<std::vector<Wanted>> wanted(static_cast<size_t>(world_size),
                                          AllOf(state));
  auto results = LoadOnRanks(wanted, NativeStorage(place));
  for (size_t rank = 0; rank < wanted.size(); ++rank) {
    if (results[rank].ok()) CHECK(AllRight(state, wanted[rank]));
  }
  return results;
}

/// What all ranks say of a load that fails.
std::string FailureOf(const NativePlace& place, const State& state) {
  const auto results = LoadAll(place, state, 2);
  RequireSameFailures(results);
  return std::string(Message(results[0].status()));
}

TEST_CASE("a save of many items writes an index, which its sidecar names",
          "[checkpoint][indexed]") {
  const auto fs = SavedIndexed(MixedState());
  const auto indices = IndexFiles(*fs);
  REQUIRE(indices.size() == 1);
  const auto all = FilesOf(*fs, ".dcpcpp-");
  REQUIRE(all.size() == 2);
  CHECK(all[0] + ".index" == indices[0]);
  const Sidecar sidecar = ParseSidecar(GetFile(*fs, all[0])).value();
  REQUIRE(sidecar.index.has_value());
  CHECK(sidecar.index->nbytes == std::ssize(GetFile(*fs, indices[0])));
  CHECK(DamagesIn(fs).empty());
}

TEST_CASE("a save of few items, or of each rank's own, writes no index",
          "[checkpoint][indexed]") {
  const auto fs = MakeMemoryFileSystem();
  NativePlace place = Indexed(fs);
  SaveOptions options;
  SECTION("few items") { place.min_indexed_items = 100; }
  SECTION("as ever") { place.min_indexed_items = kMinIndexedItems; }
  SECTION("each rank's own") { options.use_collectives = false; }
  SaveInto(place, MixedState(), options);
  CHECK(IndexFiles(*fs).empty());
}

TEST_CASE("any number of ranks loads by the index", "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  for (const int world_size : {1, 2, 3}) {
    RequireAllSucceed(LoadAll(Indexed(fs), state, world_size));
  }
}

TEST_CASE("a load by the index reports what one by .metadata does",
          "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  const auto load = [&](std::vector<Wanted> wanted) {
    std::vector<std::vector<Wanted>> all = {std::move(wanted)};
    return LoadOnRanks(all, NativeStorage(Indexed(fs)),
                       {.allow_partial_load = true})[0];
  };
  auto wanted = AllOf(state);
  std::erase_if(wanted,
                [](const Wanted& want) { return want.fqn == "middle"; });
  wanted.push_back({.fqn = "absent"});
  const auto result = load(wanted);
  REQUIRE(result.ok());
  CHECK(result->missing == std::vector<std::string>{"absent"});
  CHECK(result->unexpected == std::vector<std::string>{"middle"});
}

TEST_CASE("a rank reads of the index what its tensors need",
          "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  // The first block is that of the first entry.
  const std::string index = IndexFiles(*fs).at(0);
  FlipBit(*fs, index, kIndexedHeaderNbytes, 0);
  const std::string first = ReadMetadata(*fs).entries()[0].first;
  CHECK_THAT(FailureOf(Indexed(fs), state), Contains("\"" + first + "\""));
  std::vector<std::vector<Wanted>> wanted = {AllOf(state)};
  std::erase_if(wanted[0],
                [&](const Wanted& want) { return want.fqn == first; });
  RequireAllSucceed(LoadOnRanks(wanted, NativeStorage(Indexed(fs))));
  CHECK(AllRight(state, wanted[0]));
}

TEST_CASE("an index that is missing is damage, as .metadata names it",
          "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  const std::string index = IndexFiles(*fs).at(0);
  DCP_CHECK_OK(fs->Remove(index));
  CHECK_THAT(FailureOf(Indexed(fs), state),
             Contains("indexed metadata are missing") && Contains(index));
  const auto reader = NativeStorage(Indexed(fs)).make_reader();
  CHECK(reader->ReadIndex().status().code() == absl::StatusCode::kDataLoss);
  const auto damages = DamagesIn(fs);
  REQUIRE(damages.size() == 1);
  CHECK(damages[0].path == index);
  CHECK(Copy(fs).status().code() == absl::StatusCode::kDataLoss);
  // Who asks for no checks gets what `.metadata` says.
  NativePlace unchecked = Indexed(fs);
  unchecked.reader.verify = false;
  RequireAllSucceed(LoadAll(unchecked, state, 2));
}

TEST_CASE("an index of another save is damage", "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  const auto other = SavedIndexed(state);
  const std::string index = IndexFiles(*fs).at(0);
  PutFile(*fs, index, GetFile(*other, IndexFiles(*other).at(0)));
  CHECK_THAT(FailureOf(Indexed(fs), state), Contains(index));
  CHECK_FALSE(DamagesIn(fs).empty());
}

TEST_CASE("an index that names other bytes than .metadata is damage",
          "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  const std::string index = IndexFiles(*fs).at(0);
  const std::string sidecar_path =
      index.substr(0, index.size() - std::string(".index").size());
  // As somebody would make it for whom checksums are no obstacle.
  Metadata metadata = ReadMetadata(*fs);
  metadata.storage_data.begin()->second.offset += 64;
  const std::string forged =
      SerializeIndexedMetadata(metadata, PlacesIn(metadata),
                               GetFile(*fs, "/ckpt/.metadata"))
          .value();
  Sidecar sidecar = ParseSidecar(GetFile(*fs, sidecar_path)).value();
  sidecar.index = BindIndex(forged);
  PutFile(*fs, index, forged);
  PutFile(*fs, sidecar_path, SerializeSidecar(sidecar));
  const auto damages = DamagesIn(fs);
  REQUIRE(damages.size() == 1);
  CHECK(damages[0].path == index);
  CHECK_THAT(damages[0].message, Contains("something else than .metadata"));
}

TEST_CASE("every flipped bit of an index is found when it matters",
          "[checkpoint][indexed]") {
  const State state = SmallState(1);
  const auto fs = SavedIndexed(state);
  const std::string index = IndexFiles(*fs).at(0);
  const std::string good = GetFile(*fs, index);
  Random random(31);
  for (int i = 0; i < 200; ++i) {
    const auto byte = static_cast<size_t>(
        random.Between(0, static_cast<int64_t>(good.size()) - 1));
    const int bit = static_cast<int>(random.Between(0, 7));
    INFO("byte " << byte << ", bit " << bit);
    FlipBit(*fs, index, byte, bit);
    const auto damages = DamagesIn(fs);
    REQUIRE(damages.size() == 1);
    CHECK(damages[0].path == index);
    // All of it is read here.
    CHECK_FALSE(LoadAll(Indexed(fs), state, 1)[0].ok());
    PutFile(*fs, index, good);
  }
}

TEST_CASE("an index goes with its save", "[checkpoint][indexed]") {
  const auto fs = SavedIndexed(SmallState(1));
  const std::string old = IndexFiles(*fs).at(0);
  NativePlace place = Indexed(fs);
  SECTION("replaced by one with an index") {
    SaveInto(place, SmallState(2));
    CHECK(IndexFiles(*fs).size() == 1);
  }
  SECTION("replaced by one without") {
    place.min_indexed_items = kMinIndexedItems;
    SaveInto(place, SmallState(2));
    CHECK(IndexFiles(*fs).empty());
  }
  SECTION("replaced by ranks' own") {
    SaveInto(place, SmallState(2), {.use_collectives = false});
    CHECK(IndexFiles(*fs).empty());
  }
  CHECK_FALSE(fs->Exists(old).value());
}

TEST_CASE("an index that no metadata names is left over",
          "[checkpoint][indexed]") {
  const auto fs = SavedIndexed(SmallState(1));
  PutFile(*fs, "/ckpt/.dcpcpp-0abc.index", "of a save that was killed");
  SaveInto(Indexed(fs), SmallState(2));
  CHECK(IndexFiles(*fs).size() == 1);
  CHECK(IndexFiles(*fs)[0] != "/ckpt/.dcpcpp-0abc.index");
}

TEST_CASE("a copy has the index of its source", "[checkpoint][indexed]") {
  const State state = MixedState();
  const auto fs = SavedIndexed(state);
  const auto copied = Copy(fs);
  REQUIRE(copied.ok());
  CHECK(copied->files == std::ssize(FilesIn(*fs, "/copy")));
  CHECK(FilesIn(*fs, "/copy") == FilesIn(*fs, "/ckpt"));
  NativePlace place = Indexed(fs);
  place.directory = "/copy";
  RequireAllSucceed(LoadAll(place, state, 2));
  // A copy of damage is refused.
  FlipBit(*fs, IndexFiles(*fs).at(0), 40, 1);
  const CopyOptions options{.io = ModestIo(IoEngineKind::kThreads)};
  const auto again =
      CopyCheckpoint("/ckpt", "/copy2", options, {.file_system = fs});
  CHECK(again.status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("a checkpoint of stock torch beside an old index is read whole",
          "[checkpoint][indexed]") {
  const State state = SmallState(1);
  const auto fs = SavedIndexed(state);
  Metadata metadata = ReadMetadata(*fs);
  metadata.storage_meta->save_id = "not-one-of-dcp";
  PutFile(*fs, "/ckpt/.metadata", SerializeMetadata(metadata).value());
  RequireAllSucceed(LoadAll(Indexed(fs), state, 2));
}

}  // namespace
}  // namespace dcp
