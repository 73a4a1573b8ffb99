#include "nccl/nccl_rounds.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <vector>

namespace dcp {
namespace {

/// Where each message is by the rounds, which fit the buffer.
std::vector<uint64_t> Moved(const std::vector<std::vector<NcclPiece>>& rounds,
                            size_t peers) {
  std::vector<uint64_t> moved(peers);
  for (const std::vector<NcclPiece>& round : rounds) {
    std::set<int> met;
    size_t used = 0;
    for (const auto& [begin, transfer] : round) {
      const auto peer = static_cast<size_t>(transfer.peer);
      CHECK(met.insert(transfer.peer).second);
      CHECK(transfer.offset == used);
      CHECK(begin == moved[peer]);
      used += transfer.nbytes;
      moved[peer] += transfer.nbytes;
    }
    CHECK(used <= NcclLink::kBufferNbytes);
  }
  return moved;
}

TEST_CASE("messages of any length fit the buffer in rounds", "[nccl]") {
  std::minstd_rand random(7);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<uint64_t> sizes(1 + random() % 40);
    for (uint64_t& size : sizes) {
      size = random() % 3 == 0 ? 0 : random() % (5 << 20);
    }
    CHECK(Moved(CutIntoRounds(sizes), sizes.size()) == sizes);
  }
}

TEST_CASE("both ends cut a message into the same pieces", "[nccl]") {
  const std::vector<uint64_t> many = {0, 3 << 20, 100, (2 << 20) + 1};
  for (size_t peer = 0; peer < many.size(); ++peer) {
    std::vector<size_t> theirs;
    for (const auto& round : CutIntoRounds(many)) {
      for (const auto& [begin, transfer] : round) {
        if (transfer.peer == static_cast<int>(peer)) {
          theirs.push_back(transfer.nbytes);
        }
      }
    }
    std::vector<size_t> ours;
    for (const auto& round : CutIntoRounds(std::span(&many[peer], 1))) {
      ours.push_back(round[0].transfer.nbytes);
    }
    CHECK(ours == theirs);
  }
}

TEST_CASE("no messages take no rounds", "[nccl]") {
  CHECK(CutIntoRounds(std::vector<uint64_t>(5)).empty());
}

}  // namespace
}  // namespace dcp
