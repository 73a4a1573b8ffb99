#include "format/place_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/metadata_serializer.h"
#include "format/random_metadata.h"

namespace dcp {
namespace {

using Items = std::vector<std::pair<MetadataIndex, StorageInfo>>;

/// The items of `metadata` in a random order, taken out of it.
Items TakeItems(Metadata* metadata, std::mt19937* rng) {
  auto taken = std::exchange(metadata->storage_data, {});
  Items items(taken.begin(), taken.end());
  std::shuffle(items.begin(), items.end(), *rng);
  return items;
}

/// `items` outlive the table.
PlaceTable TableOf(const Metadata& metadata, const Items& items) {
  PlaceTable places(metadata);
  for (const auto& [index, info] : items) places.Add(index, info);
  places.Finish();
  return places;
}

/// Rows 0 to 1, 2 to 3 and 4 to 4 of a tensor of 5 rows, after an object.
Metadata ThreeChunks() {
  Metadata metadata;
  metadata.Add("step", BytesStorageMetadata{});
  metadata.Add(
      "w", TensorStorageMetadata{.size = {5},
                                 .chunks = {{.offsets = {0}, .sizes = {2}},
                                            {.offsets = {2}, .sizes = {2}},
                                            {.offsets = {4}, .sizes = {1}}}});
  return metadata;
}

TEST_CASE("places are those of entries and chunks, however they come",
          "[places]") {
  const Metadata metadata = ThreeChunks();
  Items items = {
      {{.fqn = "w", .offset = Dims{4}, .index = 2},
       {.relative_path = "b", .offset = 40, .length = 4}},
      {{.fqn = "w", .offset = Dims{0}}, {.relative_path = "a", .length = 8}},
      {{.fqn = "step"}, {.relative_path = "a", .offset = 8, .length = 1}}};
  std::sort(items.begin(), items.end(), [](const auto& x, const auto& y) {
    return x.second.offset < y.second.offset;
  });
  const bool reverse = GENERATE(false, true);
  if (reverse) std::reverse(items.begin(), items.end());
  const PlaceTable places = TableOf(metadata, items);
  CHECK(places.slot_count() == 4);
  CHECK(places.strays().empty());
  REQUIRE(places.SlotsOf(0).size() == 1);
  CHECK(places.SlotsOf(0)[0].offset == 8);
  CHECK_FALSE(places.SlotsOf(0)[0].index());
  const auto slots = places.SlotsOf(1);
  REQUIRE(slots.size() == 3);
  CHECK(slots[0].length == 8);
  CHECK_FALSE(slots[0].index());
  CHECK(places.files()[slots[0].file - 1].relative_path == "a");
  CHECK(slots[1].file == 0);
  CHECK(slots[2].offset == 40);
  CHECK(slots[2].index() == 2);
  CHECK(places.files()[slots[2].file - 1].relative_path == "b");
}

TEST_CASE("metadata and places apart give the bytes of both together",
          "[places]") {
  std::mt19937 rng(20261124);
  for (int i = 0; i < 100; ++i) {
    Metadata metadata = RandomMetadata(&rng);
    const std::string together = SerializeMetadata(metadata).value();
    const Items items = TakeItems(&metadata, &rng);
    CHECK(SerializeMetadata(metadata, TableOf(metadata, items)).value() ==
          together);
  }
}

TEST_CASE("a hint that is wrong is none", "[places]") {
  const Metadata metadata = ThreeChunks();
  const auto hint = GENERATE(as<int64_t>{}, -1, 0, 2, 3, 1LL << 40);
  const Items items = {
      {{.fqn = "w", .offset = Dims{2}, .index = hint}, {.relative_path = "a"}}};
  const PlaceTable places = TableOf(metadata, items);
  CHECK(places.strays().empty());
  CHECK(places.SlotsOf(1)[1].file == 1);
  CHECK(places.SlotsOf(1)[1].index() == hint);
}

TEST_CASE("items that no entry has are strays, by key and offset", "[places]") {
  const Metadata metadata = ThreeChunks();
  const Items items = {{{.fqn = "w", .offset = Dims{3}}, {}},
                       {{.fqn = "w", .offset = Dims{1}}, {}},
                       {{.fqn = "w"}, {}},
                       {{.fqn = "step", .offset = Dims{0}}, {}},
                       {{.fqn = "absent"}, {}}};
  const PlaceTable places = TableOf(metadata, items);
  std::vector<std::string> strays;
  for (const auto& [index, info] : places.strays()) {
    strays.push_back(ToString(index));
  }
  CHECK(strays == std::vector<std::string>{"absent", "step [offset=[0]]", "w",
                                           "w [offset=[1]]", "w [offset=[3]]"});
}

TEST_CASE("of chunks at one offset the one with elements has the place",
          "[places]") {
  Metadata metadata;
  metadata.Add("w", TensorStorageMetadata{
                        .size = {2, 2},
                        .chunks = {{.offsets = {0, 0}, .sizes = {0, 2}},
                                   {.offsets = {0, 0}, .sizes = {2, 2}},
                                   {.offsets = {2, 0}, .sizes = {0, 2}},
                                   {.offsets = {2, 0}, .sizes = {0, 1}}}});
  Items items = {
      {{.fqn = "w", .offset = Dims{0, 0}, .index = 0}, {.relative_path = "0"}},
      {{.fqn = "w", .offset = Dims{0, 0}, .index = 1}, {.relative_path = "1"}},
      {{.fqn = "w", .offset = Dims{2, 0}, .index = 2}, {.relative_path = "2"}},
      {{.fqn = "w", .offset = Dims{2, 0}, .index = 3}, {.relative_path = "3"}}};
  const bool reverse = GENERATE(false, true);
  if (reverse) std::reverse(items.begin(), items.end());
  const PlaceTable places = TableOf(metadata, items);
  const auto slots = places.SlotsOf(0);
  CHECK(slots[0].file == 0);
  REQUIRE(slots[1].file != 0);
  CHECK(places.files()[slots[1].file - 1].relative_path == "1");
  // Of two empty ones, the one that came first.
  CHECK((slots[2].file != 0) == !reverse);
  CHECK((slots[3].file != 0) == reverse);
  // Keys are there once, or the file could not be read.
  const auto pickle = SerializeMetadata(metadata, places);
  CHECK(ParseMetadata(pickle.value()).value().storage_data.size() == 2);
}

TEST_CASE("a file is one by its path and its transforms", "[places]") {
  const Metadata metadata = ThreeChunks();
  const Items items = {
      {{.fqn = "w", .offset = Dims{0}}, {.relative_path = "a"}},
      {{.fqn = "w", .offset = Dims{2}},
       {.relative_path = "a", .transform_descriptors = {"t"}}},
      {{.fqn = "w", .offset = Dims{4}}, {.relative_path = "a"}},
      {{.fqn = "step"},
       {.relative_path = "a", .transform_descriptors = {"t"}}}};
  const PlaceTable places = TableOf(metadata, items);
  REQUIRE(places.files().size() == 2);
  const auto slots = places.SlotsOf(1);
  CHECK(slots[0].file == slots[2].file);
  CHECK(slots[0].file != slots[1].file);
  CHECK(places.SlotsOf(0)[0].file == slots[1].file);
}

}  // namespace
}  // namespace dcp
