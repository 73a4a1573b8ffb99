#include "storage/pooled_reads.h"

#include <algorithm>
#include <utility>

#include "base/guarded.h"

namespace dcp {
namespace {

// Ranks that need less do not save enough together.
constexpr int64_t kMinNeeds = int64_t{64} << 10;

// What a rank says all ranks of its host get.
constexpr size_t kMaxOfferNbytes = size_t{64} << 10;
// Less is read faster alone.
constexpr size_t kMinSlots = 2;

/// Of the pool's half of a load's memory one half is what is kept for others,
/// the other what is being read for them.
size_t MaxSlots(const IoOptions& io) {
  return static_cast<size_t>(
      std::max<int64_t>(io.max_buffer_nbytes / 4 / kMaxPieceNbytes, 0));
}

}  // namespace

std::unique_ptr<PooledReads> PooledReads::Make(const PoolNeeds& needs,
                                               const std::string& directory,
                                               const IoOptions& io) {
  const int64_t nbytes = NbytesOf(needs);
  if (nbytes < kMinNeeds || nbytes > kMaxPoolNbytes) return nullptr;
  const size_t max_slots = MaxSlots(io);
  if (max_slots < kMinSlots) return nullptr;
  auto member = Guarded([&] {
    return PoolMember::Make(needs,
                            {.directory = directory, .max_slots = max_slots});
  });
  // Without shared memory every rank reads by itself.
  if (!member.ok() || (*member)->offer().size() > kMaxOfferNbytes) {
    return nullptr;
  }
  return std::unique_ptr<PooledReads>(new PooledReads(*std::move(member)));
}

void PooledReads::Join(std::string_view pool) {
  // Who could not has left the pool, and reads by itself.
  Guarded([&] { return member_->Join(pool); }).IgnoreError();
}

void PooledReads::Start(const PipelineOptions& options,
                        PoolReading::MakeFiles make_files) {
  PipelineOptions reading = options;
  reading.workers = 1;
  reading.direct_block_nbytes = kMaxPieceNbytes + kPieceOverhang;
  reading.buffered_block_nbytes = reading.direct_block_nbytes;
  reading.blocks_per_worker = static_cast<int>(
      std::clamp<size_t>(member_->slot_count() / 2, 1, PoolBoard::kMaxSlots));
  reading.proceed = nullptr;
  taking_ = std::make_unique<PoolTaking>(
      *member_, PoolTaking::Options{.workers = options.workers,
                                    .proceed = options.proceed});
  reading_ =
      std::make_unique<PoolReading>(*member_, reading, std::move(make_files));
}

Status PooledReads::Finish(const std::function<Status()>& proceed) {
  DCP_RETURN_IF_ERROR(taking_->TakeRest());
  return reading_->Finish(proceed);
}

}  // namespace dcp
