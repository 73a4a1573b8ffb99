// What describe tells of a checkpoint with indexed metadata.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "checkpoint/describe_testing.h"
#include "checkpoint/indexed_place.h"
#include "dcp/describe.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

/// What is at /ckpt, by `depth`.
StatusOr<CheckpointDescription> Described(std::shared_ptr<FileSystem> fs,
                                          DescribeDepth depth) {
  return Describe("/ckpt",
                  {.depth = depth, .io = ModestIo(IoEngineKind::kThreads)},
                  {.file_system = std::move(fs)});
}

TEST_CASE("totals come from the index, without .metadata",
          "[checkpoint][indexed][describe]") {
  const auto fs = SavedIndexed(MixedState());
  const auto items = Described(fs, DescribeDepth::kItems);
  REQUIRE(items.ok());
  std::string metadata = GetFile(*fs, "/ckpt/.metadata");
  std::fill(metadata.begin(), metadata.begin() + 100, '?');
  PutFile(*fs, "/ckpt/.metadata", metadata);
  CHECK_FALSE(Described(fs, DescribeDepth::kItems).ok());
  const auto totals = Described(fs, DescribeDepth::kTotals);
  REQUIRE(totals.ok());
  CheckSameTotals(*totals, *items);
  // One of another size is of another save.
  PutFile(*fs, "/ckpt/.metadata", "?" + metadata);
  CHECK_FALSE(Described(fs, DescribeDepth::kTotals).ok());
}

TEST_CASE("no totals come from an index that is damaged",
          "[checkpoint][indexed][describe]") {
  const auto fs = SavedIndexed(MixedState());
  const std::string index = IndexFiles(*fs).at(0);
  SECTION("a bit") { FlipBit(*fs, index, GetFile(*fs, index).size() - 5, 0); }
  SECTION("missing") { DCP_CHECK_OK(fs->Remove(index)); }
  SECTION("of another save") {
    const auto other = SavedIndexed(MixedState());
    PutFile(*fs, index, GetFile(*other, IndexFiles(*other).at(0)));
  }
  const auto totals = Described(fs, DescribeDepth::kTotals);
  CHECK(totals.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(totals.status())), Contains(index));
}

}  // namespace
}  // namespace dcp
