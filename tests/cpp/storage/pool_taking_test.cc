#include "storage/pool_taking.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "storage/pool_members.h"

namespace dcp {
namespace {

constexpr int64_t kTwoPieces = 2 * kMaxPieceNbytes;

PoolNeeds NeedsUntil(int64_t end) {
  return {{.name = "a", .in_cells = false, .ranges = {{0, end}}}};
}

/// Remembers where what came ends.
class EndSink final : public ExtentSink {
 public:
  std::string_view key() const override { return "key"; }
  Status Write(int64_t begin, std::span<const std::byte> bytes) override {
    end = std::max(end, begin + static_cast<int64_t>(bytes.size()));
    return absl::OkStatus();
  }

  int64_t end = 0;
};

TEST_CASE("an item that goes on behind what is common takes no more than that",
          "[storage][pool]") {
  const std::vector<PoolNeeds> needs = {NeedsUntil(kTwoPieces + 1000),
                                        NeedsUntil(kTwoPieces + 24)};
  const auto members = JoinedMembers(needs, {});
  for (const PoolPiece& piece : members[0]->division().pieces) {
    PoolMember& reader = *members[piece.reader];
    REQUIRE(reader.AwaitRoom(piece));
    reader.Publish(piece, PoolMember::Outcome::kRead);
  }
  EndSink sink;
  FileExtents reads;
  reads.extents = {{.begin = 0, .end = kTwoPieces + 1000, .sink = &sink}};
  const std::vector<PoolTaking::FilePart> parts = {
      {.name = "a", .reads = &reads}};
  PoolTaking taking(*members[0], {.workers = 1, .proceed = nullptr});
  DCP_CHECK_OK(taking.Take(parts, "a", kTwoPieces + 1000));
  CHECK(sink.end == kTwoPieces + 16);
  REQUIRE(reads.extents.size() == 1);
  CHECK(reads.extents[0].begin == kTwoPieces + 16);
  CHECK(reads.extents[0].end == kTwoPieces + 1000);
}

}  // namespace
}  // namespace dcp
