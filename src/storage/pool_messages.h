// What ranks that may read together tell each other before they do: each says
// where it is and what it needs, and is told who its pool are.

#ifndef DCP_STORAGE_POOL_MESSAGES_H_
#define DCP_STORAGE_POOL_MESSAGES_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"
#include "storage/pool_needs.h"

namespace dcp {

/// What one rank says of itself to its pool.
struct PoolOffer {
  std::string window;    ///< PoolWindow::address
  size_t max_slots = 0;  ///< PoolMember::Options::max_slots
  PoolNeeds needs;
  bool operator==(const PoolOffer&) const = default;
};

/// `place` as PoolPlace: only ranks of the same one form a pool.
std::string SerializeOffer(std::string_view place, const PoolOffer& offer);

/// Of each rank that may read together with others, what it says of itself
/// (SerializeOffer): what is to be said to each of them. Empty for a rank that
/// stays alone.
std::vector<std::string> FormPools(std::span<const std::string> offers);

struct Pool {
  size_t number = 0;  ///< of who reads this, in `members`
  std::vector<PoolOffer> members;
  bool operator==(const Pool&) const = default;
};

/// What FormPools made for one rank.
/// \error kDataLoss  garbled
StatusOr<Pool> ParsePool(std::string_view data);

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_MESSAGES_H_
