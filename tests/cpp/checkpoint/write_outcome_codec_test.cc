#include "checkpoint/write_outcome_codec.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <string>

namespace dcp {
namespace {

WriteOutcome SomeOutcome() {
  return {.results = {{.index = {.fqn = "w", .offset = Dims{1, 2}, .index = 3},
                       .size_in_bytes = 10,
                       .storage_info = {.relative_path = "f",
                                        .offset = 64,
                                        .length = 10,
                                        .transform_descriptors = {"a", "b"}}},
                      {.index = {.fqn = "scalar", .offset = Dims{}}},
                      {.index = {.fqn = "object"}}},
          .storage_data = std::string("\0notes", 6)};
}

TEST_CASE("an outcome survives the way to the coordinator", "[checkpoint]") {
  const WriteOutcome outcome = SomeOutcome();
  const auto parsed = ParseWriteOutcome(SerializeWriteOutcome(outcome));
  REQUIRE(parsed.ok());
  CHECK(parsed->storage_data == outcome.storage_data);
  REQUIRE(parsed->results.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(parsed->results[i].index == outcome.results[i].index);
    CHECK(parsed->results[i].index.index == outcome.results[i].index.index);
    CHECK(parsed->results[i].size_in_bytes == outcome.results[i].size_in_bytes);
    CHECK(parsed->results[i].storage_info == outcome.results[i].storage_info);
  }
}

TEST_CASE("numbers of any size survive", "[checkpoint]") {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  WriteOutcome outcome;
  for (const int64_t number : {int64_t{0}, kMost, -kMost - 1, int64_t{-1}}) {
    outcome.results.push_back(
        {.index = {.fqn = "w"},
         .size_in_bytes = number,
         .storage_info = {.offset = number, .length = kMost}});
  }
  const auto parsed = ParseWriteOutcome(SerializeWriteOutcome(outcome));
  REQUIRE(parsed.ok());
  for (size_t i = 0; i < outcome.results.size(); ++i) {
    CHECK(parsed->results[i].size_in_bytes == outcome.results[i].size_in_bytes);
    CHECK(parsed->results[i].storage_info == outcome.results[i].storage_info);
  }
}

TEST_CASE("an item of a file of many takes few bytes", "[checkpoint]") {
  WriteOutcome outcome;
  constexpr int64_t kItems = 1000;
  for (int64_t i = 0; i < kItems; ++i) {
    const int64_t nbytes = 14'680'064 + i % 3 * 4096;
    outcome.results.push_back(
        {.index = {.fqn = "model.layers." + std::to_string(i / 9) +
                          ".attention.weight_" + std::to_string(i % 9),
                   .offset = Dims{448 * i, 0}},
         .size_in_bytes = nbytes,
         .storage_info = {.relative_path = "__511_0.distcp",
                          .offset = i * 15'000'000,
                          .length = nbytes + 1264}});
    auto& info = outcome.results.back().storage_info;
    if (i == 0) continue;
    const auto& before = outcome.results[static_cast<size_t>(i) - 1];
    info.offset = before.storage_info.offset + before.storage_info.length;
  }
  const std::string message = SerializeWriteOutcome(outcome);
  INFO(message.size() / kItems << " B an item");
  CHECK(message.size() < kItems * 25);
}

TEST_CASE("bytes that are no outcome are an error", "[checkpoint]") {
  const std::string good = SerializeWriteOutcome(SomeOutcome());
  for (size_t n = 0; n < good.size(); ++n) {
    CHECK_FALSE(ParseWriteOutcome(good.substr(0, n)).ok());
  }
  CHECK_FALSE(ParseWriteOutcome(good + "x").ok());
  std::string other_version = good;
  other_version[0] = 3;
  const auto parsed = ParseWriteOutcome(other_version);
  CHECK(parsed.status().code() == absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dcp
