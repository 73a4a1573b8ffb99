#include "storage/pool_member.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <system_error>

#include "base/wire.h"
#include "storage/pool_members.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

Status GoOn() { return absl::OkStatus(); }

const PoolMember::Options kHasty = {.max_slots = 2,
                                    .patience = std::chrono::milliseconds(60)};

TEST_CASE("what a member publishes the others see, until all have released it",
          "[storage][pool]") {
  const auto members = TwoMembers(8, kHasty);
  PoolMember& reader = *members[0];
  PoolMember& taker = *members[1];
  for (size_t number = 0; number < 4; ++number) {
    const PoolPiece& piece = PieceOf(reader, 0, number);
    REQUIRE(reader.AwaitRoom(piece));
    const auto room = reader.RoomOf(piece);
    CHECK(room.size() == static_cast<size_t>(4 * kMiB));
    room.front() = room.back() = static_cast<std::byte>(number + 40);
    reader.Publish(piece, PoolMember::Outcome::kRead);
    for (PoolMember* const member : {&reader, &taker}) {
      REQUIRE(member->Await(piece, GoOn).value());
      CHECK(member->BytesOf(piece).back() ==
            static_cast<std::byte>(number + 40));
      member->Release(piece);
    }
  }
}

TEST_CASE("a reader waits for who has not taken, until that one leaves",
          "[storage][pool]") {
  auto members = TwoMembers(8, kHasty);
  PoolMember& reader = *members[0];
  for (size_t number = 0; number < 2; ++number) {
    const PoolPiece& piece = PieceOf(reader, 0, number);
    REQUIRE(reader.AwaitRoom(piece));
    reader.Publish(piece, PoolMember::Outcome::kRead);
    REQUIRE(reader.Await(piece, GoOn).value());
    reader.Release(piece);
  }
  CHECK_FALSE(reader.AwaitRoom(PieceOf(reader, 0, 2)));
  members[1].reset();
  CHECK(reader.AwaitRoom(PieceOf(reader, 0, 2)));
}

TEST_CASE("a slot whose piece is still being read is no room for the next",
          "[storage][pool]") {
  const auto members = TwoMembers(8, kHasty);
  PoolMember& reader = *members[0];
  CHECK(reader.AwaitRoom(PieceOf(reader, 0, 1)));
  CHECK_FALSE(reader.AwaitRoom(PieceOf(reader, 0, 3)));
}

TEST_CASE("nobody waits for a reader that failed, ended or is silent",
          "[storage][pool]") {
  const auto members = TwoMembers(8, kHasty);
  PoolMember& reader = *members[0];
  PoolMember& taker = *members[1];
  const PoolPiece& failed = PieceOf(reader, 0, 0);
  REQUIRE(reader.AwaitRoom(failed));
  reader.Publish(failed, PoolMember::Outcome::kFailed);
  CHECK_FALSE(taker.Await(failed, GoOn).value());

  const PoolPiece& silent = PieceOf(taker, 0, 1);
  CHECK_FALSE(taker.Await(silent, GoOn).value());
  reader.EndReading();
  CHECK_FALSE(reader.Await(silent, GoOn).value());
}

TEST_CASE("who waits for a piece asks whether to go on", "[storage][pool]") {
  const auto members = TwoMembers(8, {.max_slots = 2});
  const PoolPiece& piece = PieceOf(*members[1], 0, 0);
  const auto stop = [] { return InvalidArgument("stop"); };
  CHECK(members[1]->Await(piece, stop).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a member that cannot see another's memory leaves",
          "[storage][pool]") {
  const PoolNeeds needs = {
      {.name = "a", .in_cells = true, .ranges = {{0, 32 * kMiB}}}};
  auto gone = PoolMember::Make(needs, kHasty).value();
  auto here = PoolMember::Make(needs, kHasty).value();
  const auto pools =
      FormPools(std::vector<std::string>{gone->offer(), here->offer()});
  gone.reset();
  CHECK_FALSE(here->Join(pools[1]).ok());
  CHECK(here->division().pieces.empty());
}

TEST_CASE("a member that is told nonsense leaves", "[storage][pool]") {
  const PoolNeeds needs = {
      {.name = "a", .in_cells = true, .ranges = {{0, 32 * kMiB}}}};
  auto lost = PoolMember::Make(needs, kHasty).value();
  auto here = PoolMember::Make(needs, kHasty).value();
  const auto pools =
      FormPools(std::vector<std::string>{lost->offer(), here->offer()});
  CHECK_FALSE(lost->Join(pools[0].substr(0, pools[0].size() - 1)).ok());
  CHECK(lost->division().files.empty());
  DCP_CHECK_OK(here->Join(pools[1]));
  for (size_t number = 0; number < 2; ++number) {
    here->Publish(PieceOf(*here, 1, number), PoolMember::Outcome::kRead);
    here->Release(PieceOf(*here, 1, number));
  }
  CHECK(here->AwaitRoom(PieceOf(*here, 1, 2)));

  std::string stranger = pools[1];
  stranger[0] = 7;  // its number in the pool
  here = PoolMember::Make(needs, kHasty).value();
  CHECK_FALSE(here->Join(stranger).ok());
}

/// Descriptors of this process by which a segment is open.
int SegmentsOpen() {
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone);
    if (target.string().find("dcpcpp-staging") != std::string::npos) ++count;
  }
  return count;
}

TEST_CASE("members keep no descriptors of others' windows", "[storage][pool]") {
  const int before = SegmentsOpen();
  const auto members = TwoMembers(8, kHasty);
  CHECK(SegmentsOpen() == before + 2);
}

TEST_CASE("ranks whose directories are others are not pooled",
          "[storage][pool]") {
  const PoolNeeds needs = {
      {.name = "a", .in_cells = true, .ranges = {{0, 32 * kMiB}}}};
  std::vector<std::unique_ptr<PoolMember>> members;
  std::vector<std::string> offers;
  for (const char* const directory : {"/a", "/b", "/a"}) {
    members.push_back(
        PoolMember::Make(needs, {.directory = directory}).value());
    offers.push_back(members.back()->offer());
  }
  const std::vector<std::string> pools = FormPools(offers);
  CHECK_FALSE(pools[0].empty());
  CHECK(pools[1].empty());
  CHECK_FALSE(pools[2].empty());
}

TEST_CASE("pools are of ranks of one host that have something to say",
          "[storage][pool]") {
  const auto offer = [](const char* host) {
    WireWriter out;
    out.PutString(host);
    out.PutString("member");
    return std::move(out).Take();
  };
  const std::vector<std::string> offers = {offer("x"), offer("y"), "",
                                           offer("x"), offer("z")};
  const std::vector<std::string> pools = FormPools(offers);
  CHECK_FALSE(pools[0].empty());
  CHECK_FALSE(pools[3].empty());
  for (const size_t alone : {1, 2, 4}) CHECK(pools[alone].empty());
}

}  // namespace
}  // namespace dcp
