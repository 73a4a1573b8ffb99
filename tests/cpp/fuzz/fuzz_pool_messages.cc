// Ranks that may read together: offers, and who a pool is; what is accepted
// can be said again, and divided.

#include <string_view>

#include "fuzz/fuzz_target.h"
#include "storage/pool_division.h"
#include "storage/pool_messages.h"

namespace dcp {
namespace {

/// Whoever accepts a pool works out from it who reads what.
void Divide(const Pool& pool) {
  std::vector<PoolNeeds> needs;
  for (const PoolOffer& member : pool.members) needs.push_back(member.needs);
  for (const PoolPiece& piece : DividePool(needs).pieces) {
    Require(piece.reader < needs.size(), "who reads a piece is a member");
    Require(piece.begin < piece.end && piece.end <= piece.read_end,
            "a piece has bytes");
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  constexpr int64_t kMiB = int64_t{1} << 20;
  const PoolOffer one{
      .window = "a window",
      .max_slots = 28,
      .needs = {{.name = "__0_0.distcp",
                 .in_cells = true,
                 .ranges = {{.begin = 0, .end = 32 * kMiB},
                            {.begin = 40 * kMiB, .end = 50 * kMiB}}},
                {.name = "__1_0.distcp", .ranges = {{.begin = 7, .end = 99}}}}};
  PoolOffer other = one;
  other.needs.pop_back();
  const std::vector<std::string> offers = {
      SerializeOffer("here", one), SerializeOffer("here", other),
      SerializeOffer("there", one), SerializeOffer("here", {})};
  std::vector<std::string> seeds = FormPools(offers);
  std::erase(seeds, "");
  seeds.insert(seeds.end(), offers.begin(), offers.end());
  return seeds;
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto pool = dcp::ParsePool(input);
  if (pool.ok()) dcp::Divide(*pool);
  const std::vector<std::string> offers = {std::string(input),
                                           std::string(input)};
  for (const std::string& message : dcp::FormPools(offers)) {
    if (const auto formed = dcp::ParsePool(message); formed.ok()) {
      dcp::Require(formed->members.size() == 2, "both have offered");
      const auto again = dcp::FormPools(std::vector<std::string>{
          dcp::SerializeOffer("here", formed->members[0]),
          dcp::SerializeOffer("here", formed->members[1])});
      const auto reparsed = dcp::ParsePool(again[formed->number]);
      dcp::Require(reparsed.ok() && *reparsed == *formed,
                   "a pool comes back as it was");
    }
  }
  return 0;
}
