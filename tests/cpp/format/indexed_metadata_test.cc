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
#include "format/random_metadata.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

constexpr MetadataBinding kBinding = {.nbytes = 954, .crc32 = 0xdeadbeef};

std::string Written(const Metadata& metadata) {
  std::string data;
  const Status status = WriteIndexedMetadata(
      metadata, PlacesIn(metadata), kBinding, [&](std::string_view bytes) {
        data += bytes;
        return absl::OkStatus();
      });
  REQUIRE(status.ok());
  return data;
}

/// Counts what is read of `data`, which outlives it.
struct CountedReads {
  const std::string& data;
  size_t count = 0;
  size_t nbytes = 0;

  ReadRange AsReadRange() {
    return [this](int64_t byte_offset, std::span<std::byte> out) {
      const auto begin = static_cast<size_t>(byte_offset);
      if (begin > data.size() || out.size() > data.size() - begin) {
        return Internal("a read beyond the end");
      }
      std::memcpy(out.data(), data.data() + begin, out.size());
      ++count;
      nbytes += out.size();
      return absl::OkStatus();
    };
  }
};

StatusOr<Metadata> ReadAll(const std::string& data) {
  CountedReads reads{data};
  DCP_ASSIGN_OR_RETURN(
      const IndexedMetadata index,
      IndexedMetadata::Open(reads.AsReadRange(),
                            static_cast<int64_t>(data.size())));
  return index.ReadAll();
}

/// A tensor of rows, sharded over `chunks` ranks, and what else there may be.
Metadata Sharded(int64_t chunks) {
  Metadata metadata;
  metadata.Add("step", BytesStorageMetadata{});
  TensorStorageMetadata tensor{.properties = {.dtype = DType::kBFloat16},
                               .size = {16 * chunks, 8192}};
  for (int64_t c = 0; c < chunks; ++c) {
    const Box& chunk = tensor.chunks.emplace_back(
        Box{.offsets = {16 * c, 0}, .sizes = {16, 8192}});
    metadata.storage_data[{.fqn = "w", .offset = chunk.offsets, .index = c}] = {
        .relative_path = "__" + std::to_string(c) + "_0.distcp",
        .offset = 123456789,
        .length = 16 * 8192 * 2 + 1600};
  }
  metadata.Add("w", std::move(tensor));
  metadata.storage_data[{.fqn = "step"}] = {
      .relative_path = "__0_0.distcp", .transform_descriptors = {"a", "b"}};
  metadata.storage_data[{.fqn = "nobody's"}] = {.relative_path = "f"};
  metadata.planner_data.emplace()["w"] = {std::string("model"), int64_t{3}};
  metadata.storage_meta = {.save_id = "id", .modules = {"m"}};
  metadata.version = "1.0.0";
  return metadata;
}

/// Replaces bytes at `at` and makes the CRC-32 at the end fit again.
std::string Patched(std::string data, size_t at, std::string_view bytes) {
  data.replace(at, bytes.size(), bytes);
  uint32_t trailer_nbytes = 0;
  std::memcpy(&trailer_nbytes, data.data() + data.size() - 8, 4);
  uint32_t crc = Crc32(0, AsBytes(data).first(kIndexedHeaderNbytes));
  crc =
      Crc32(crc, AsBytes(data).last(trailer_nbytes).first(trailer_nbytes - 4));
  std::memcpy(data.data() + data.size() - 4, &crc, 4);
  return data;
}

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

TEST_CASE("an entry is found, and its items read a block at a time",
          "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const std::string data = Written(metadata);
  CountedReads reads{data};
  const auto index = IndexedMetadata::Open(reads.AsReadRange(),
                                           static_cast<int64_t>(data.size()));
  REQUIRE(index.ok());
  CHECK(index->metadata() == kBinding);
  CHECK(index->size() == 2);
  CHECK(index->Position("w") == 1);
  CHECK(index->Position("v") == 2);
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

TEST_CASE("an outline has no items, and each entry adds its own", "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const std::string data = Written(metadata);
  CountedReads reads{data};
  const auto index = IndexedMetadata::Open(reads.AsReadRange(),
                                           static_cast<int64_t>(data.size()));
  REQUIRE(index.ok());
  reads.count = 0;
  Metadata outline = index->ReadOutline().value();
  CHECK(reads.count == 1);
  REQUIRE(outline.entries().size() == 2);
  CHECK(outline.FindTensor("w")->size == Dims{16000, 8192});
  CHECK(outline.FindTensor("w")->chunks.empty());
  CHECK(outline.storage_data.size() == 1);  // nobody's
  CHECK(outline.planner_data == metadata.planner_data);
  CHECK(outline.storage_meta == metadata.storage_meta);
  CHECK(outline.version == metadata.version);
  REQUIRE(index->ReadEntry("absent", &outline).ok());
  REQUIRE(index->ReadEntry("step", &outline).ok());
  CHECK(outline.storage_data.size() == 2);
  REQUIRE(index->ReadEntry("w", &outline).ok());
  CheckEqual(outline, metadata);
  // What is there already, or is another tensor, is not added to.
  CHECK(index->ReadEntry("w", &outline).code() == absl::StatusCode::kDataLoss);
  Metadata other;
  other.Add("w", TensorStorageMetadata{.size = {16000, 8193}});
  CHECK(index->ReadEntry("w", &other).code() == absl::StatusCode::kDataLoss);
  Metadata object;
  object.Add("w", BytesStorageMetadata{});
  CHECK(index->ReadEntry("w", &object).code() == absl::StatusCode::kDataLoss);
  Metadata empty;
  CHECK(index->ReadEntry("w", &empty).code() == absl::StatusCode::kDataLoss);
}

/// What CheckIsOf says of an index of `metadata` for a `.metadata` of `nbytes`.
Status CheckedFor(const Metadata& metadata, int64_t nbytes) {
  const MetadataBinding binding{.nbytes = nbytes, .crc32 = 7};
  std::string data;
  const Status written = WriteIndexedMetadata(
      metadata, PlacesIn(metadata), binding, [&](std::string_view bytes) {
        data += bytes;
        return absl::OkStatus();
      });
  REQUIRE(written.ok());
  CountedReads reads{data};
  const auto index = IndexedMetadata::Open(reads.AsReadRange(),
                                           static_cast<int64_t>(data.size()));
  REQUIRE(index.ok());
  CHECK(index->CheckIsOf({.nbytes = nbytes, .crc32 = 8}).code() ==
        absl::StatusCode::kDataLoss);
  return index->CheckIsOf(binding);
}

TEST_CASE("an index says no more than its .metadata can", "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const auto nbytes =
      static_cast<int64_t>(SerializeMetadata(metadata).value().size());
  CHECK(CheckedFor(metadata, nbytes).ok());
  // A thousand chunks, of 16 bytes at least, and an object.
  CHECK(CheckedFor(metadata, 1001 * 16).ok());
  CHECK(CheckedFor(metadata, 1001 * 16 - 1).code() ==
        absl::StatusCode::kDataLoss);
  // Each of 2,000 items gets a copy of a name of 100 KB.
  Metadata named;
  TensorStorageMetadata tensor{.size = {2000}};
  for (int64_t i = 0; i < 2000; ++i) {
    tensor.chunks.push_back({.offsets = {i}, .sizes = {1}});
  }
  named.Add(std::string(100'000, 'n'), tensor);
  CHECK(CheckedFor(named, 200'000).code() == absl::StatusCode::kDataLoss);
  Metadata placed = Sharded(10);
  placed.storage_data[{.fqn = "step"}].relative_path = std::string(600, 'p');
  CHECK(CheckedFor(placed, 200'000).code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("entries do not share blocks or records", "[indexed]") {
  // Both tensors have one block, of equal bytes: the second entry is made to
  // name the first one's.
  Metadata metadata;
  for (const char* fqn : {"a", "b"}) {
    metadata.Add(
        fqn, TensorStorageMetadata{.size = {4},
                                   .chunks = {{.offsets = {0}, .sizes = {4}}}});
  }
  const std::string data = Written(metadata);
  CHECK(ReadAll(data).ok());
  const std::string head = data.substr(0, kIndexedHeaderNbytes);
  const IndexedTrailer trailer = ParseTrailer(head, data, data.size()).value();
  const size_t second = trailer.directory_begin + IndexedTrailer::kEntryNbytes;
  for (const size_t at : {second, second + sizeof(uint64_t)}) {
    std::string shared = data;
    shared.replace(at, sizeof(uint64_t), sizeof(uint64_t), '\0');
    const uint32_t crc =
        Crc32(0, AsBytes(shared).subspan(trailer.directory_begin,
                                         trailer.directory_nbytes()));
    const size_t crc_at = data.size() - SerializeTrailer({}).size() + 48;
    shared = Patched(shared, crc_at,
                     {reinterpret_cast<const char*>(&crc), sizeof(crc)});
    CHECK_THAT(std::string(Message(ReadAll(shared).status())),
               Contains("directory"));
  }
}

TEST_CASE("a chunk takes a few bytes where they are regular", "[indexed]") {
  // The names of the files are half of it.
  const size_t nbytes =
      Written(Sharded(10000)).size() - Written(Sharded(1000)).size();
  CHECK(nbytes < 24 * 9000);
}

TEST_CASE("entries of one key are refused", "[indexed]") {
  IndexedMetadataWriter writer(
      [](std::string_view) { return absl::OkStatus(); });
  CHECK(writer.BeginObject("a").ok());
  CHECK(writer.BeginTensor("a", {}, {}).ok());
  const Status status = writer.Finish(Metadata(), kBinding);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Contains("two entries \"a\""));
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
