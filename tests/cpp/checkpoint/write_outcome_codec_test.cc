#include "checkpoint/write_outcome_codec.h"

#include <catch2/catch.hpp>
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

TEST_CASE("bytes that are no outcome are an error", "[checkpoint]") {
  const std::string good = SerializeWriteOutcome(SomeOutcome());
  for (size_t n = 0; n < good.size(); ++n) {
    CHECK_FALSE(ParseWriteOutcome(good.substr(0, n)).ok());
  }
  CHECK_FALSE(ParseWriteOutcome(good + "x").ok());
  std::string other_version = good;
  other_version[0] = 2;
  const auto parsed = ParseWriteOutcome(other_version);
  CHECK(parsed.status().code() == absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dcp
