// Pools whose members are in one process.

#ifndef DCP_TESTS_STORAGE_POOL_MEMBERS_H_
#define DCP_TESTS_STORAGE_POOL_MEMBERS_H_

#include <catch2/catch.hpp>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/pool_member.h"

namespace dcp {

inline std::vector<std::unique_ptr<PoolMember>> JoinedMembers(
    std::span<const PoolNeeds> needs, const PoolMember::Options& options) {
  std::vector<std::unique_ptr<PoolMember>> members;
  std::vector<std::string> offers;
  for (const PoolNeeds& mine : needs) {
    members.push_back(PoolMember::Make(mine, options).value());
    offers.push_back(members.back()->offer());
  }
  const std::vector<std::string> pools = FormPools(offers);
  for (size_t i = 0; i < members.size(); ++i) {
    DCP_CHECK_OK(members[i]->Join(pools[i]));
  }
  return members;
}

/// Two members that need the same `pieces` pieces, of which each reads half.
inline std::vector<std::unique_ptr<PoolMember>> TwoMembers(
    int64_t pieces, const PoolMember::Options& options) {
  const FileRange range{.begin = 0, .end = pieces * kMaxPieceNbytes};
  const std::vector<PoolNeeds> needs(
      2, {{.name = "a", .in_cells = true, .ranges = {range}}});
  return JoinedMembers(needs, options);
}

inline const PoolPiece& PieceOf(const PoolMember& member, size_t reader,
                                size_t number) {
  for (const PoolPiece& piece : member.division().pieces) {
    if (piece.reader == reader && piece.number == number) return piece;
  }
  FAIL("no such piece");
  return member.division().pieces[0];
}

}  // namespace dcp

#endif  // DCP_TESTS_STORAGE_POOL_MEMBERS_H_
