#include "dcp/metadata_codec.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <utility>

#include "format/bytes.h"
#include "format/random_metadata.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

Metadata Parse(const std::string& pickle) {
  auto metadata = ParseMetadata(pickle);
  INFO(metadata.status());
  REQUIRE(metadata.ok());
  return *std::move(metadata);
}

std::string Serialize(const Metadata& metadata) {
  auto pickle = SerializeMetadata(metadata);
  INFO(pickle.status());
  REQUIRE(pickle.ok());
  return *std::move(pickle);
}

/// One tensor in two chunks and one object, with everything set.
Metadata Example() {
  Metadata metadata;
  metadata.Add(
      "w", TensorStorageMetadata{
               .properties = {.dtype = DType::kBFloat16, .requires_grad = true},
               .size = {4, 3},
               .chunks = {{.offsets = {0, 0}, .sizes = {2, 3}},
                          {.offsets = {2, 0}, .sizes = {2, 3}}}});
  metadata.Add("step", BytesStorageMetadata{});
  auto& paths = metadata.planner_data.emplace();
  paths["w"] = {std::string("model"), int64_t{3}, std::string("w")};
  paths["step"] = {std::string("step")};
  metadata.storage_data[{.fqn = "w", .offset = Dims{0, 0}, .index = 0}] = {
      .relative_path = "__0_0.distcp", .offset = 64, .length = 1577};
  metadata.storage_data[{.fqn = "w", .offset = Dims{2, 0}, .index = 1}] = {
      .relative_path = "__1_0.distcp", .offset = 1LL << 40, .length = 1577};
  metadata.storage_data[{.fqn = "step"}] = {
      .relative_path = "__0_0.distcp",
      .length = 50,
      .transform_descriptors = {"stream.zstd/1"}};
  metadata.storage_meta = {.checkpoint_id = "ck",
                           .save_id = "id",
                           .load_id = std::nullopt,
                           .modules = {"a", "b"}};
  metadata.version = "1.0.0";
  return metadata;
}

TEST_CASE("metadata come back as written", "[metadata]") {
  const Metadata metadata = Example();
  CheckEqual(Parse(Serialize(metadata)), metadata);
}

TEST_CASE("empty metadata come back as written", "[metadata]") {
  CheckEqual(Parse(Serialize(Metadata())), Metadata());
}

TEST_CASE("bytes do not depend on the order of the hash tables", "[metadata]") {
  Metadata reordered = Example();
  auto items = std::exchange(reordered.storage_data, {});
  reordered.storage_data.reserve(10000);
  for (const auto& item : items) reordered.storage_data.insert(item);
  auto paths = *std::exchange(reordered.planner_data, std::nullopt);
  reordered.planner_data.emplace().reserve(5000);
  for (const auto& path : paths) reordered.planner_data->insert(path);
  CHECK(Serialize(reordered) == Serialize(Example()));
}

TEST_CASE("items and paths without an entry are kept, sorted last",
          "[metadata]") {
  Metadata metadata = Example();
  for (const std::string key : {"z", "y", "x"}) {
    metadata.storage_data[{.fqn = key}] = {.relative_path = key};
    (*metadata.planner_data)[key] = {key};
  }
  metadata.storage_data[{.fqn = "w", .offset = Dims{1, 1}}] = {};
  const std::string pickle = Serialize(metadata);
  CheckEqual(Parse(pickle), metadata);
  CHECK(Serialize(Parse(pickle)) == pickle);
}

TEST_CASE("two empty chunks with one offset have one item", "[metadata]") {
  Metadata metadata;
  const Box empty{.offsets = {1, 0}, .sizes = {0, 2}};
  metadata.Add(
      "w", TensorStorageMetadata{.size = {1, 2},
                                 .chunks = {WholeBox({1, 2}), empty, empty}});
  metadata.storage_data[{.fqn = "w", .offset = Dims{1, 0}, .index = 2}] = {
      .relative_path = "f"};
  CheckEqual(Parse(Serialize(metadata)), metadata);
}

TEST_CASE("random metadata survive a round trip, byte for byte", "[metadata]") {
  std::mt19937 rng(20260101);
  for (int i = 0; i < 200; ++i) {
    const Metadata metadata = RandomMetadata(&rng);
    const std::string pickle = Serialize(metadata);
    const Metadata parsed = Parse(pickle);
    CheckEqual(parsed, metadata);
    CHECK(parsed.ignored_attributes.empty());
    CHECK(Serialize(parsed) == pickle);
  }
}

TEST_CASE("more entries than one batch survive a round trip", "[metadata]") {
  Metadata metadata;
  for (int64_t i = 0; i < 3500; ++i) {
    const std::string fqn = "layer." + std::to_string(i);
    metadata.Add(fqn,
                 TensorStorageMetadata{.size = {i}, .chunks = {WholeBox({i})}});
    metadata.storage_data[{.fqn = fqn, .offset = Dims{0}, .index = 0}] = {
        .relative_path = "__0_0.distcp", .offset = 64 * i, .length = 64};
  }
  CheckEqual(Parse(Serialize(metadata)), metadata);
}

TEST_CASE("every truncation of a metadata file is refused", "[metadata]") {
  const std::string pickle = Serialize(Example());
  for (size_t n = 0; n < pickle.size(); ++n) {
    const auto parsed = ParseMetadata(std::string_view(pickle).substr(0, n));
    REQUIRE_FALSE(parsed.ok());
    REQUIRE(parsed.status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("strings that cannot be read back are not written", "[metadata]") {
  Metadata metadata;
  metadata.Add("bad \xff", BytesStorageMetadata{});
  CHECK(SerializeMetadata(metadata).status().code() ==
        absl::StatusCode::kInvalidArgument);
  Metadata long_key;
  long_key.Add(std::string((1 << 20) + 1, 'x'), BytesStorageMetadata{});
  CHECK_THAT(std::string(Message(SerializeMetadata(long_key).status())),
             Contains("1 MiB"));
}

TEST_CASE("random damage never does worse than an error", "[metadata]") {
  const std::string pickle = Serialize(Example());
  std::mt19937 rng(7);
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = pickle;
    const size_t flips = 1 + rng() % 4;
    for (size_t f = 0; f < flips; ++f) {
      char& byte = damaged[rng() % damaged.size()];
      byte = static_cast<char>(byte ^ (1 << (rng() % 8)));
    }
    const auto parsed = ParseMetadata(damaged);
    if (parsed.ok()) (void)SerializeMetadata(*parsed);
  }
}

}  // namespace
}  // namespace dcp
