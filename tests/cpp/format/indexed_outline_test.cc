// Indexed metadata in parts, and what they may ask for.

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/indexed_testing.h"
#include "format/random_metadata.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("an outline has no items, and each entry adds its own", "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const std::string data = Written(metadata);
  CountedReads reads{data};
  const auto index = Opened(reads);
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
  // Another place, another tensor, an object, and more entries.
  Metadata other;
  other.Add("w", TensorStorageMetadata{.size = {16000, 8192}});
  CHECK(index->ReadEntry("w", &other).code() == absl::StatusCode::kDataLoss);
  other = Metadata();
  other.Add("step", BytesStorageMetadata{});
  other.Add("w", TensorStorageMetadata{.size = {16000, 8193}});
  CHECK(index->ReadEntry("w", &other).code() == absl::StatusCode::kDataLoss);
  other = Metadata();
  other.Add("step", BytesStorageMetadata{});
  other.Add("w", BytesStorageMetadata{});
  other.Add("v", BytesStorageMetadata{});
  CHECK(index->ReadEntry("w", &other).code() == absl::StatusCode::kDataLoss);
  CHECK(index->ReadEntry("v", &other).code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("entries of one key are refused", "[indexed]") {
  std::string data;
  IndexedMetadataWriter writer([&](std::string_view bytes) {
    data += bytes;
    return absl::OkStatus();
  });
  REQUIRE(writer.BeginObject("a").ok());
  REQUIRE(writer.BeginTensor("a", {}, {}).ok());
  REQUIRE(writer.Finish(Metadata(), {}, kBinding).ok());
  const Status status = ReadAll(data).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("have \"a\" twice"));
}

TEST_CASE("an index that says something else is found", "[indexed]") {
  const std::string data = Written(Sharded(300));
  CountedReads reads{data};
  const auto index = Opened(reads);
  REQUIRE(index.ok());
  CHECK(index->CheckSays(Sharded(300)).ok());
  const auto message_of = [&](const std::function<void(Metadata*)>& change) {
    Metadata metadata = Sharded(300);
    change(&metadata);
    const Status status = index->CheckSays(metadata);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    return std::string(Message(status));
  };
  CHECK_THAT(message_of([](Metadata* metadata) {
               auto& tensor =
                   std::get<TensorStorageMetadata>(*metadata->FindMutable("w"));
               tensor.chunks[280].sizes[0] = 15;
             }),
             Contains("something else of \"w\""));
  for (const auto& change : std::vector<std::function<void(Metadata*)>>{
           [](Metadata* metadata) {
             metadata->storage_data[{.fqn = "step"}].offset = 1;
           },
           [](Metadata* metadata) {
             metadata->storage_data[{.fqn = "w", .offset = Dims{16, 0}}] = {};
           },
           [](Metadata* metadata) {
             metadata->storage_data[{.fqn = "more"}] = {};
           },
           [](Metadata* metadata) {
             metadata->Add("more", BytesStorageMetadata{});
           },
           [](Metadata* metadata) { metadata->planner_data.reset(); },
           [](Metadata* metadata) { metadata->storage_meta.reset(); },
           [](Metadata* metadata) { metadata->version.reset(); }}) {
    CHECK_THAT(message_of(change), Contains("something else than"));
  }
}

/// What comes of an index of `metadata` for a `.metadata` of `nbytes`.
Status OpenedFor(const Metadata& metadata, int64_t nbytes) {
  const MetadataBinding binding{.nbytes = nbytes, .crc32 = 7};
  std::string data;
  const Status written = WriteIndexedMetadata(
      metadata, PlacesIn(metadata), binding, [&](std::string_view bytes) {
        data += bytes;
        return absl::OkStatus();
      });
  REQUIRE(written.ok());
  CountedReads reads{data};
  CHECK_THAT(std::string(Message(
                 Opened(reads, {.nbytes = nbytes, .crc32 = 8}).status())),
             Contains("of another .metadata"));
  return Opened(reads, binding).status();
}

TEST_CASE("an index says no more than its .metadata can", "[indexed]") {
  const Metadata metadata = Sharded(1000);
  const auto nbytes =
      static_cast<int64_t>(SerializeMetadata(metadata).value().size());
  CHECK(OpenedFor(metadata, nbytes).ok());
  // A thousand chunks, of 16 bytes at least, and an object.
  CHECK(OpenedFor(metadata, 1001 * 16).ok());
  CHECK(OpenedFor(metadata, 1001 * 16 - 1).code() ==
        absl::StatusCode::kDataLoss);
  // Each of 2,000 items gets a copy of a name of 100 KB.
  Metadata named;
  TensorStorageMetadata tensor{.size = {2000}};
  for (int64_t i = 0; i < 2000; ++i) {
    tensor.chunks.push_back({.offsets = {i}, .sizes = {1}});
  }
  named.Add(std::string(100'000, 'n'), tensor);
  CHECK(OpenedFor(named, 200'000).code() == absl::StatusCode::kDataLoss);
  Metadata placed = Sharded(10);
  placed.storage_data[{.fqn = "step"}].relative_path = std::string(600, 'p');
  CHECK(OpenedFor(placed, 200'000).code() == absl::StatusCode::kDataLoss);
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
    const size_t crc_at = data.size() - SerializeTrailer({}).size() + 40;
    shared = Patched(shared, crc_at,
                     {reinterpret_cast<const char*>(&crc), sizeof(crc)});
    CHECK_THAT(std::string(Message(ReadAll(shared).status())),
               Contains("directory"));
  }
}

}  // namespace
}  // namespace dcp
