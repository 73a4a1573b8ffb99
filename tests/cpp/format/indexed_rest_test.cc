#include "format/indexed_rest.h"

#include <catch2/catch.hpp>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/wire.h"
#include "format/indexed_testing.h"
#include "format/random_metadata.h"

namespace dcp {
namespace {

constexpr size_t kMib = size_t{1} << 20;

Status Parsed(const std::string& data, size_t metadata_nbytes = 0) {
  Metadata metadata;
  return ParseRest(data, CopyBudget(metadata_nbytes), &metadata);
}

/// The rest up to planner_data: no version, no storage_meta, some paths.
WireWriter BeforePaths(size_t paths) {
  WireWriter out;
  out.PutU8(0);
  out.PutU8(0);
  out.PutU8(1);
  out.PutVarint(paths);
  return out;
}

TEST_CASE("the rest says again what belongs to no entry", "[indexed]") {
  Metadata metadata;
  metadata.planner_data.emplace()["a.1"] = {std::string("a"), int64_t{1}};
  metadata.storage_meta = {.checkpoint_id = "c", .modules = {"m", ""}};
  metadata.version = "1.0.0";
  metadata.storage_data[{.fqn = "x", .offset = Dims{1}, .index = 2}] = {
      .relative_path = "f", .offset = 3, .transform_descriptors = {"t"}};
  const PlaceTable places = PlacesIn(metadata);
  Metadata parsed;
  REQUIRE(ParseRest(SerializeRest(metadata, places.strays()), CopyBudget(0),
                    &parsed)
              .ok());
  CheckEqual(parsed, metadata);
}

TEST_CASE("empty texts of an index do not fill the memory", "[indexed]") {
  // Each is two bytes, or one, and some tens of them in memory: 32 MiB are
  // free, and four times the .metadata.
  constexpr size_t kTexts = kMib;
  SECTION("in a path") {
    WireWriter out = BeforePaths(1);
    out.PutString("key");
    out.PutVarint(kTexts);
    const std::string data =
        std::move(out).Take() + std::string(2 * kTexts + 1, '\0');
    CHECK(Parsed(data).code() == absl::StatusCode::kDataLoss);
    CHECK(Parsed(data, 4 * kMib).ok());
    CHECK(Parsed(data, kMib).code() == absl::StatusCode::kDataLoss);
  }
  SECTION("in modules") {
    WireWriter out;
    out.PutU8(0);
    out.PutU8(1);
    for (int id = 0; id < 3; ++id) out.PutU8(0);
    out.PutVarint(kTexts);
    const std::string data =
        std::move(out).Take() + std::string(kTexts + 2, '\0');
    CHECK(Parsed(data).code() == absl::StatusCode::kDataLoss);
    CHECK(Parsed(data, 4 * kMib).ok());
  }
  SECTION("as files") {
    WireWriter out;
    out.PutVarint(kTexts);
    const std::string data =
        std::move(out).Take() + std::string(2 * kTexts, '\0');
    CHECK(ParseFiles(data, CopyBudget(0)).status().code() ==
          absl::StatusCode::kDataLoss);
    CHECK(ParseFiles(data, CopyBudget(16 * kMib)).ok());
  }
}

TEST_CASE("keys that std::hash does not tell apart are refused in the rest",
          "[indexed]") {
  constexpr size_t kCount = 200;
  std::unordered_map<std::string, ObjectPath> table;
  table.reserve(kCount);
  for (const bool is_crowded : {false, true}) {
    WireWriter out = BeforePaths(kCount);
    size_t count = 0;
    for (int64_t i = 0; count < kCount; ++i) {
      const std::string key = "layers." + std::to_string(i);
      if (is_crowded && table.bucket(key) != 0) continue;
      out.PutString(key);
      out.PutVarint(0);
      ++count;
    }
    out.PutVarint(0);
    CHECK(Parsed(out.data()).ok() == !is_crowded);
  }
}

}  // namespace
}  // namespace dcp
