#include "storage/pool_messages.h"

#include <map>
#include <utility>

#include "base/wire.h"
#include "storage/pool_division.h"
#include "storage/pool_window.h"

namespace dcp {
namespace {

std::string SerializePool(std::span<const std::string_view> members,
                          size_t number) {
  WireWriter out;
  out.PutVarint(number);
  out.PutVarint(members.size());
  for (const std::string_view member : members) out.PutString(member);
  return std::move(out).Take();
}

StatusOr<PoolOffer> ParseMember(std::string_view data) {
  WireReader in(data, "a member of a pool");
  PoolOffer offer{.window = std::string(in.String())};
  const uint64_t max_slots = in.Varint();
  if (max_slots > PoolBoard::kMaxSlots) in.Fail();
  offer.max_slots = static_cast<size_t>(max_slots);
  offer.needs = GetPoolNeeds(in);
  DCP_RETURN_IF_ERROR(in.Finish());
  return offer;
}

}  // namespace

std::string SerializeOffer(std::string_view place, const PoolOffer& offer) {
  WireWriter member;
  member.PutString(offer.window);
  member.PutVarint(offer.max_slots);
  PutPoolNeeds(offer.needs, &member);
  WireWriter out;
  out.PutString(place);
  out.PutString(member.data());
  return std::move(out).Take();
}

std::vector<std::string> FormPools(std::span<const std::string> offers) {
  struct Members {
    std::vector<size_t> ranks;
    std::vector<std::string_view> offers;
  };
  std::map<std::string_view, std::vector<Members>> places;
  for (size_t rank = 0; rank < offers.size(); ++rank) {
    WireReader in(offers[rank], "an offer to read together");
    const std::string_view place = in.String();
    const std::string_view member = in.String();
    if (!in.Finish().ok()) continue;
    std::vector<Members>& pools = places[place];
    if (pools.empty() || pools.back().ranks.size() == kMaxPoolMembers) {
      pools.emplace_back();
    }
    pools.back().ranks.push_back(rank);
    pools.back().offers.push_back(member);
  }
  std::vector<std::string> replies(offers.size());
  for (const auto& [place, pools] : places) {
    for (const Members& pool : pools) {
      if (pool.ranks.size() < 2) continue;
      for (size_t i = 0; i < pool.ranks.size(); ++i) {
        replies[pool.ranks[i]] = SerializePool(pool.offers, i);
      }
    }
  }
  return replies;
}

StatusOr<Pool> ParsePool(std::string_view data) {
  WireReader in(data, "the members of a pool");
  Pool pool{.number = static_cast<size_t>(in.Varint())};
  const size_t count = in.Count(1);
  if (count > kMaxPoolMembers || pool.number >= count) in.Fail();
  DCP_RETURN_IF_ERROR(in.status());
  for (size_t i = 0; i < count; ++i) {
    DCP_ASSIGN_OR_RETURN(PoolOffer member, ParseMember(in.String()));
    pool.members.push_back(std::move(member));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return pool;
}

}  // namespace dcp
