#include "dcp/metadata.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <ctime>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

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
  CHECK(places.size() > 2000);
}

TEST_CASE("no offsets are chosen so that a table has them in one place",
          "[metadata]") {
  constexpr int64_t kCount = 20000;
  std::unordered_map<MetadataIndex, StorageInfo, MetadataIndexHash> items;
  items.reserve(kCount);
  const auto places = static_cast<int64_t>(items.bucket_count());
  size_t longest = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const auto [item, is_new] =
        items.try_emplace({.fqn = "w", .offset = Dims{i * places}});
    longest = std::max(longest, items.bucket_size(items.bucket(item->first)));
    if (longest > 100) break;
  }
  CHECK(longest < 50);
}

/// Seconds that metadata of these entries take.
double SecondsOf(const std::vector<std::string>& names) {
  const std::clock_t start = std::clock();
  Metadata metadata;
  for (const std::string& name : names) {
    metadata.Add(name, BytesStorageMetadata{});
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

TEST_CASE("no names are chosen so that entries are in one place",
          "[metadata]") {
  // Those that std::hash would put into the first of 64 parts of the slots.
  constexpr size_t kCount = 16384;
  constexpr size_t kMaxSlots = 4 * kCount;
  std::vector<std::string> chosen;
  std::vector<std::string> others;
  for (int64_t i = 0; chosen.size() < kCount; ++i) {
    const std::string name = "layers." + std::to_string(i);
    const size_t slot = std::hash<std::string_view>()(name) % kMaxSlots;
    if (slot < kMaxSlots / 64) chosen.push_back(name);
    if (others.size() < kCount) others.push_back(name);
  }
  CHECK(SecondsOf(chosen) < 0.1 + 20 * SecondsOf(others));
}

TEST_CASE("an index names its item in messages", "[metadata]") {
  CHECK(ToString(MetadataIndex{.fqn = "w", .offset = Dims{4, 0}}) ==
        "w [offset=[4, 0]]");
  CHECK(ToString(MetadataIndex{.fqn = "step"}) == "step");
}

}  // namespace
}  // namespace dcp
