#include "storage/space_check.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <map>

#include "base/wire.h"

namespace dcp {
namespace {

// What a zip item adds to its data: headers, pickle, padding to 4096.
constexpr int64_t kItemOverhead = 8192;
// `.metadata` and the sidecar, per item.
constexpr int64_t kMetadataPerItem = 512;

/// What views that repeat their elements add up to may not fit 64 bits.
int64_t AddUpToMax(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<int64_t>::max()
             : sum;
}

int64_t NeededBytes(const SavePlan& plan) {
  int64_t nbytes = 0;
  for (const WriteItem& item : plan.items) {
    // Small items are padded less: data starts at a multiple of 64 only.
    const int64_t overhead =
        std::min(kItemOverhead, AddUpToMax(item.nbytes, 2048));
    nbytes = AddUpToMax(nbytes, item.nbytes);
    nbytes = AddUpToMax(nbytes, kMetadataPerItem + overhead);
  }
  return nbytes;
}

}  // namespace

std::string EncodeSpace(const std::optional<SpaceInfo>& space) {
  WireWriter out;
  out.PutFlag(space.has_value());
  if (space) {
    out.PutSigned(space->free_nbytes);
    out.PutString(space->pool);
  }
  return std::move(out).Take();
}

Status CheckSpace(std::span<const SavePlan> plans,
                  std::span<const std::string> spaces,
                  const std::optional<SpaceInfo>& now,
                  const std::string& path) {
  struct Pool {
    int64_t needed = 0;
    int64_t free = 0;
  };
  std::map<std::string, Pool> pools;
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    WireReader in(spaces[rank], "free space of rank " + std::to_string(rank));
    if (!in.Flag()) {
      DCP_RETURN_IF_ERROR(in.Finish());
      continue;
    }
    const int64_t free = in.Signed();
    const std::string name(in.String());
    Pool& pool = pools[name];
    DCP_RETURN_IF_ERROR(in.Finish());
    pool.needed = AddUpToMax(pool.needed, NeededBytes(plans[rank]));
    pool.free = now && now->pool == name ? now->free_nbytes : free;
  }
  for (const auto& [name, pool] : pools) {
    if (pool.needed <= pool.free) continue;
    return Annotate(ErrnoToStatus(ENOSPC, {.op = "save", .path = path}),
                    "the checkpoint needs " + std::to_string(pool.needed) +
                        " bytes, " + std::to_string(pool.free) + " are free");
  }
  return absl::OkStatus();
}

}  // namespace dcp
