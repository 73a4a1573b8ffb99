#include "dcp/metadata.h"

#include <catch2/catch.hpp>
#include <set>
#include <utility>

namespace dcp {
namespace {

TEST_CASE("entries keep the order in which they were added", "[metadata]") {
  Metadata metadata;
  metadata.Add("z", BytesStorageMetadata{});
  metadata.Add("a", TensorStorageMetadata{.size = {2, 3}});
  metadata.Add("m", BytesStorageMetadata{});
  REQUIRE(metadata.entries().size() == 3);
  CHECK(metadata.entries()[0].first == "z");
  CHECK(metadata.entries()[1].first == "a");
  CHECK(metadata.entries()[2].first == "m");
}

TEST_CASE("adding a key twice returns the first entry unchanged",
          "[metadata]") {
  Metadata metadata;
  metadata.Add("w", TensorStorageMetadata{.size = {2}});
  StorageMetadata* again = metadata.Add("w", BytesStorageMetadata{});
  REQUIRE(std::holds_alternative<TensorStorageMetadata>(*again));
  CHECK(metadata.entries().size() == 1);
}

TEST_CASE("every key among thousands is found, and no other", "[metadata]") {
  Metadata metadata;
  CHECK(metadata.Find("key0") == nullptr);
  if (GENERATE(false, true)) metadata.Reserve(5000);
  for (int64_t i = 0; i < 5000; ++i) {
    metadata.Add("key" + std::to_string(i), TensorStorageMetadata{.size = {i}});
  }
  for (int64_t i = 0; i < 5000; ++i) {
    const auto* tensor = metadata.FindTensor("key" + std::to_string(i));
    REQUIRE(tensor != nullptr);
    REQUIRE(tensor->size == Dims{i});
  }
  CHECK(metadata.Find("key5000") == nullptr);
  CHECK(metadata.Find("") == nullptr);
}

TEST_CASE("a bytes entry is not a tensor", "[metadata]") {
  Metadata metadata;
  metadata.Add("step", BytesStorageMetadata{});
  CHECK(metadata.Find("step") != nullptr);
  CHECK(metadata.FindTensor("step") == nullptr);
}

TEST_CASE("a copy is independent of its original", "[metadata]") {
  Metadata original;
  original.Add("a", TensorStorageMetadata{.size = {1}});
  Metadata copy = original;
  copy.Add("b", BytesStorageMetadata{});
  std::get<TensorStorageMetadata>(*copy.FindMutable("a")).size = Dims{7};
  CHECK(original.Find("b") == nullptr);
  CHECK(original.FindTensor("a")->size == Dims{1});
  CHECK(copy.FindTensor("a")->size == Dims{7});
}

TEST_CASE("the index hint is no part of an item's identity", "[metadata]") {
  const MetadataIndex a{.fqn = "w", .offset = Dims{0, 4}, .index = 1};
  const MetadataIndex b{.fqn = "w", .offset = Dims{0, 4}};
  const MetadataIndex other{.fqn = "w", .offset = Dims{4, 0}, .index = 1};
  const MetadataIndex bytes{.fqn = "w"};
  CHECK(a == b);
  CHECK(MetadataIndexHash()(a) == MetadataIndexHash()(b));
  CHECK_FALSE(a == other);
  CHECK_FALSE(a == bytes);
  CHECK(MetadataIndexHash()(a) != MetadataIndexHash()(other));
  // A 0-d tensor's item and an object under the same name differ.
  const MetadataIndex scalar{.fqn = "w", .offset = Dims{}};
  CHECK_FALSE(scalar == bytes);
  CHECK(MetadataIndexHash()(scalar) != MetadataIndexHash()(bytes));
}

TEST_CASE("the chunks of a tensor are near each other in a hash table",
          "[metadata]") {
  const MetadataIndexHash hash;
  const size_t first = hash({.fqn = "w", .offset = Dims{0, 0}});
  for (int64_t row = 0; row < 1000; ++row) {
    CHECK(hash({.fqn = "w", .offset = Dims{16 * row, 0}}) ==
          first + static_cast<size_t>(16 * row));
  }
  // A grid takes nearly as many places of a table as random numbers, 3230.
  constexpr size_t kPlaces = 8209;  // a prime, as in libstdc++
  std::set<size_t> places;
  for (int64_t i = 0; i < 64 * 64; ++i) {
    const Dims offset{i / 64 * 128, i % 64 * 128};
    places.insert(hash({.fqn = "w", .offset = offset}) % kPlaces);
  }
  CHECK(places.size() > 2500);
}

TEST_CASE("an index names its item in messages", "[metadata]") {
  CHECK(ToString(MetadataIndex{.fqn = "w", .offset = Dims{4, 0}}) ==
        "w [offset=[4, 0]]");
  CHECK(ToString(MetadataIndex{.fqn = "step"}) == "step");
}

}  // namespace
}  // namespace dcp
