#include "storage/pool_division.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <limits>
#include <numeric>
#include <random>

#include "base/wire.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

FileNeeds Cells(std::string name, std::vector<FileRange> ranges) {
  return {.name = std::move(name), .in_cells = true, .ranges = ranges};
}

/// How many members read byte `at` of the file, and how many take it.
std::pair<int, int> CountsOf(const PoolDivision& division, size_t file,
                             int64_t at) {
  std::pair<int, int> counts;
  for (const PoolPiece& piece : division.pieces) {
    if (piece.file != file || at < piece.begin || at >= piece.end) continue;
    ++counts.first;
    counts.second += std::popcount(piece.takers);
  }
  return counts;
}

TEST_CASE("what all members need is read once, by all in equal parts",
          "[storage][pool]") {
  const std::vector<PoolNeeds> members(
      4, {Cells("a", {{0, 100 * kMiB}}), Cells("b", {{kMiB, 30 * kMiB + 7}})});
  const PoolDivision division = DividePool(members);
  std::vector<int64_t> to_read(4);
  for (const PoolPiece& piece : division.pieces) {
    CHECK(piece.takers == 0b1111);
    CHECK(piece.end - piece.begin <= kMaxPieceNbytes);
    CHECK(piece.read_end == piece.end);
    to_read[piece.reader] += piece.end - piece.begin;
  }
  CHECK(std::accumulate(to_read.begin(), to_read.end(), int64_t{0}) ==
        129 * kMiB + 7);
  const auto [least, most] =
      std::minmax_element(to_read.begin(), to_read.end());
  CHECK(*most - *least <= kMaxPieceNbytes);
}

TEST_CASE("who reads much for itself reads less for others",
          "[storage][pool]") {
  const std::vector<PoolNeeds> members = {
      {Cells("a", {{0, 20 * kMiB}}), Cells("own", {{0, 40 * kMiB}})},
      {Cells("a", {{0, 20 * kMiB}})}};
  for (const PoolPiece& piece : DividePool(members).pieces) {
    CHECK(piece.reader == 1);
  }
}

TEST_CASE("ranks that need bytes of their own, but for little, stay alone",
          "[storage][pool]") {
  std::vector<PoolNeeds> members;
  for (int64_t m = 0; m < 4; ++m) {  // neighbors share a cell
    members.push_back(
        {Cells("a", {{m * 99 * kMiB, (m + 1) * 99 * kMiB + kMiB}})});
  }
  CHECK(DividePool(members).pieces.empty());
  const std::vector<PoolNeeds> small(4, {Cells("a", {{0, kMiB}})});
  CHECK(DividePool(small).pieces.empty());
}

TEST_CASE("what no host can need is not divided", "[storage][pool]") {
  const int64_t end =
      GENERATE(int64_t{1} << 50, std::numeric_limits<int64_t>::max());
  const std::vector<PoolNeeds> members(
      4, {Cells("a", {{0, end}}), Cells("b", {{0, end}})});
  CHECK(DividePool(members).pieces.empty());
  CHECK(NbytesOf(members[0]) > kMaxPoolNbytes);
}

TEST_CASE("needs beyond what any file has are refused", "[storage][pool]") {
  WireWriter out;
  PutPoolNeeds({Cells("a", {{0, std::numeric_limits<int64_t>::max()}})}, &out);
  std::string bytes = std::move(out).Take();
  bytes[bytes.size() - 10] = 1;  // where the range begins
  WireReader in(bytes, "needs");
  GetPoolNeeds(in);
  CHECK_FALSE(in.ok());
}

TEST_CASE("many short ranges stay with the ranks that need them",
          "[storage][pool]") {
  FileNeeds file = Cells("a", {});
  for (int64_t i = 0; i < 100; ++i) {
    file.ranges.push_back({i * kMiB, i * kMiB + kMiB / 8});
  }
  CHECK(DividePool(std::vector<PoolNeeds>(4, {file})).pieces.empty());
  for (FileRange& range : file.ranges) range.end += kMiB / 8;
  CHECK_FALSE(DividePool(std::vector<PoolNeeds>(4, {file})).pieces.empty());
}

TEST_CASE("cuts within items leave room for the element that they meet",
          "[storage][pool]") {
  const std::vector<PoolNeeds> members(
      2, {{.name = "a", .in_cells = false, .ranges = {{3, 10 * kMiB}}}});
  const PoolDivision division = DividePool(members);
  REQUIRE(division.pieces.size() == 3);
  CHECK(division.pieces[0].read_end == division.pieces[0].end + kPieceOverhang);
  CHECK(division.pieces[2].read_end == 10 * kMiB);
  CHECK(division.piece_nbytes == kMaxPieceNbytes + kPieceOverhang);
}

TEST_CASE("of random needs every common byte has one reader and all its takers",
          "[storage][pool]") {
  std::mt19937 random(7);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<PoolNeeds> members(static_cast<size_t>(2 + below(5)));
    std::vector<int> needed(200);
    for (PoolNeeds& needs : members) {
      FileNeeds file = Cells("a", {});
      for (int64_t at = below(9); at < 200;) {
        const int64_t end = std::min<int64_t>(200, at + 1 + below(60));
        file.ranges.push_back({at * kMiB, end * kMiB});
        for (int64_t i = at; i < end; ++i) ++needed[static_cast<size_t>(i)];
        at = end + 1 + below(9);
      }
      WireWriter out;
      PutPoolNeeds({file}, &out);
      WireReader in(out.data(), "needs");
      needs = GetPoolNeeds(in);
      CHECK(needs == PoolNeeds{file});
    }
    const PoolDivision division = DividePool(members);
    REQUIRE_FALSE(division.pieces.empty());
    for (size_t i = 0; i < needed.size(); ++i) {
      const auto [readers, takers] =
          CountsOf(division, 0, static_cast<int64_t>(i) * kMiB);
      CHECK(readers == (needed[i] > 1 ? 1 : 0));
      CHECK(takers == (needed[i] > 1 ? needed[i] : 0));
    }
    std::vector<size_t> counts(members.size());
    for (const PoolPiece& piece : division.pieces) {
      CHECK(((piece.takers >> piece.reader) & 1) == 1);
      CHECK(piece.number == counts[piece.reader]++);
    }
    CHECK(counts == division.piece_counts);
  }
}

}  // namespace
}  // namespace dcp
