#include "format/indexed_metadata.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "dcp/metadata_codec.h"
#include "format/bytes.h"
#include "format/golden.h"
#include "format/indexed_testing.h"
#include "format/random_metadata.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("indexed metadata say what .metadata says", "[indexed]") {
  CheckEqual(ReadAll(Written(Metadata())).value(), Metadata());
  CheckEqual(ReadAll(Written(Sharded(1000))).value(), Sharded(1000));
  std::mt19937 rng(20261123);
  for (int i = 0; i < 200; ++i) {
    const Metadata metadata = RandomMetadata(&rng);
    const std::string data = Written(metadata);
    CheckEqual(ReadAll(data).value(), metadata);
    CHECK(SerializeMetadata(ReadAll(data).value()).value() ==
          SerializeMetadata(metadata).value());
  }
}

TEST_CASE("what torch wrote survives the index", "[indexed]") {
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    const auto metadata = ParseMetadata(ReadWholeFile(folder / ".metadata"));
    if (!metadata.ok()) continue;
    INFO(folder);
    CheckEqual(ReadAll(Written(*metadata)).value(), *metadata);
  }
}

TEST_CASE("two empty chunks at one offset have one place", "[indexed]") {
  Metadata metadata;
  const Box empty{.offsets = {1, 0}, .sizes = {0, 2}};
  metadata.Add(
      "w", TensorStorageMetadata{.size = {1, 2},
                                 .chunks = {WholeBox({1, 2}), empty, empty}});
  metadata.storage_data[{.fqn = "w", .offset = Dims{1, 0}, .index = 2}] = {
      .relative_path = "f"};
  CheckEqual(ReadAll(Written(metadata)).value(), metadata);
}

TEST_CASE("equal metadata have equal bytes", "[indexed]") {
  Metadata reordered = Sharded(300);
  auto items = std::exchange(reordered.storage_data, {});
  reordered.storage_data.reserve(10000);
  for (const auto& item : items) reordered.storage_data.insert(item);
  CHECK(Written(reordered) == Written(Sharded(300)));
}

TEST_CASE("the items of an entry are read a block at a time", "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const std::string data = Written(metadata);
  CountedReads reads{data};
  const auto index = Opened(reads);
  REQUIRE(index.ok());
  CHECK(index->size() == 2);
  const IndexedMetadata::Entry entry = index->At(1).value();
  CHECK(entry.fqn == "w");
  CHECK(entry.properties.dtype == DType::kBFloat16);
  CHECK(entry.size == Dims{16000, 8192});
  CHECK(entry.item_count == 1000);
  CHECK_FALSE(index->At(0).value().is_tensor);
  // Items 250 to 259 are in two of the four blocks.
  reads.count = reads.nbytes = 0;
  const auto items = index->Items(entry, 250, 10).value();
  CHECK(reads.count == 1);
  CHECK(reads.nbytes < 300);
  REQUIRE(items.size() == 10);
  const auto& chunks = metadata.FindTensor("w")->chunks;
  for (size_t i = 0; i < items.size(); ++i) {
    CHECK(items[i].chunk == chunks[250 + i]);
    CHECK(items[i].index == static_cast<int64_t>(250 + i));
    CHECK(items[i].place->relative_path ==
          "__" + std::to_string(250 + i) + "_0.distcp");
  }
  CHECK(index->Items(entry, 999, 1).value()[0].chunk == chunks[999]);
  CHECK(index->Items(entry, 5, 0).value().empty());
}

TEST_CASE("a chunk takes a few bytes where they are regular", "[indexed]") {
  // The names of the files are half of it.
  const size_t nbytes =
      Written(Sharded(10000)).size() - Written(Sharded(1000)).size();
  CHECK(nbytes < 24 * 9000);
}

TEST_CASE("an error of the sink is the writer's", "[indexed]") {
  const Metadata metadata = Sharded(600);
  const PlaceTable places = PlacesIn(metadata);
  const size_t nbytes = Written(metadata).size();
  for (size_t room = 0; room < nbytes; room += 7) {
    size_t left = room;
    const Status status = WriteIndexedMetadata(
        metadata, places, kBinding, [&](std::string_view bytes) {
          if (bytes.size() > left) return FailedPrecondition("full");
          left -= bytes.size();
          return absl::OkStatus();
        });
    REQUIRE(status.code() == absl::StatusCode::kFailedPrecondition);
  }
}

TEST_CASE("every truncation and every flipped bit of an index is refused",
          "[indexed]") {
  const std::string data = Written(Sharded(3));
  for (size_t n = 0; n < data.size(); ++n) {
    REQUIRE(ReadAll(data.substr(0, n)).status().code() ==
            absl::StatusCode::kDataLoss);
  }
  for (size_t i = 0; i < 8 * data.size(); ++i) {
    std::string damaged = data;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    REQUIRE(ReadAll(damaged).status().code() == absl::StatusCode::kDataLoss);
  }
  CHECK_FALSE(ReadAll(data + "x").ok());
}

TEST_CASE("a damaged block names its entry", "[indexed]") {
  std::string data = Written(Sharded(3));
  data[kIndexedHeaderNbytes + 20] ^= 1;
  CHECK_THAT(std::string(Message(ReadAll(data).status())),
             Contains("\"") && Contains("CRC-32"));
}

TEST_CASE("a newer index is read if its writer allows that", "[indexed]") {
  const std::string data = Written(Sharded(3));
  uint32_t trailer_nbytes = 0;
  std::memcpy(&trailer_nbytes, data.data() + data.size() - 8, 4);
  // Version 2 has another part, and another field in the trailer.
  std::string newer = data;
  newer.insert(data.size() - 8, "appended");
  newer.insert(data.size() - trailer_nbytes, "a part");
  newer[newer.size() - 8] = static_cast<char>(trailer_nbytes + 8);
  CheckEqual(ReadAll(Patched(newer, 8, Bytes("\2\0\0\0"))).value(), Sharded(3));
  // In version 1 the same is damage.
  CHECK_FALSE(ReadAll(Patched(newer, 8, Bytes("\1\0\0\0"))).ok());
  // Version 2 that needs a reader of version 2.
  const Status refused =
      ReadAll(Patched(data, 8, Bytes("\2\0\0\0\2\0\0\0"))).status();
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(refused)), Contains("upgrade"));
}

}  // namespace
}  // namespace dcp
