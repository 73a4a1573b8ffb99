// A load, start to finish:
// 1. The coordinator reads the metadata once; every rank gets its bytes. Where
//    there is an index, these are of an outline: what entries there are.
// 2. Every rank makes its entries and plans its reads by itself. Of an index it
//    reads what its entries need.
// 3. All ranks learn whether all could plan; only then is memory written. In
//    the same messages ranks of one host find each other that need the same
//    bytes: each of these is then read by one of them (pool_member.cc).
// 4. Every rank reads, and decodes what it read. No message is pending
//    meanwhile.
// 5. All ranks learn whether all could.
// 6. Files that are gone or damaged may mean that another save has replaced the
//    checkpoint since step 1. All ranks got the same failures, so all know that
//    the coordinator now looks at the metadata again. If it is another one, all
//    start again with it, once; what was written to destinations is written
//    anew. If it is the same, the failures stand. Where every rank has metadata
//    of its own, each looks at these, and all start again if one finds others.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/load_planning.h"
#include "checkpoint/rank_exchange.h"
#include "checkpoint/shared_index.h"
#include "dcp/checkpoint.h"
#include "storage/pooled_reads.h"

namespace dcp {
namespace {

StatusOr<std::string> NothingOr(const Status& status) {
  if (status.ok()) return std::string();
  return status;
}

/// All ranks get OK, or all get the failures of those that failed.
Status AgreeOn(Transport& transport, std::string_view phase,
               const Status& local) {
  return AllReduce(transport, phase, NothingOr(local),
                   [](const std::vector<std::string>&) {
                     return StatusOr<std::string>("");
                   })
      .status();
}

/// Whether reading a checkpoint that is being replaced may fail like this.
bool MayBeReplacement(const Status& status) {
  if (status.code() == absl::StatusCode::kDataLoss) return true;
  const auto detail = GetErrorDetail(status);
  if (!detail) return false;
  // On network file systems an open file may go, too.
  if (detail->error_number == ESTALE) return true;
  return status.code() == absl::StatusCode::kNotFound &&
         detail->op != "lookup";  // a file, not a key
}

/// The same on all ranks: it depends on what all of them were told.
bool MayBeReplacedCheckpoint(const Status& agreed) {
  const auto failures = GetRankFailures(agreed);
  return failures.has_value() &&
         std::all_of(failures->by_rank.begin(), failures->by_rank.end(),
                     [](const auto& failure) {
                       return MayBeReplacement(failure.second);
                     });
}

/// The reader, if it pools, leaves its pool at the end, however that comes: it
/// may outlive the load, and its window is memory.
class PoolStay {
 public:
  explicit PoolStay(PoolingReader* reader) : reader_(reader) {}
  PoolStay(const PoolStay&) = delete;
  PoolStay& operator=(const PoolStay&) = delete;
  ~PoolStay() {
    if (reader_ != nullptr) reader_->LeavePool();
  }

 private:
  PoolingReader* const reader_;
};

class LoadOperation {
 public:
  LoadOperation(LoadRequest& request, StorageReader& reader,
                Transport& transport, const LoadOptions& options)
      : request_(request),
        reader_(reader),
        transport_(transport),
        options_(options),
        role_{.rank = transport.rank(),
              .world_size = transport.world_size(),
              .is_coordinator = transport.rank() == transport.coordinator()},
        pooling_(options.pool_reads && role_.world_size > 1
                     ? dynamic_cast<PoolingReader*>(&reader)
                     : nullptr),
        index_(reader, transport) {}

  StatusOr<LoadResult> Run() {
    DCP_ASSIGN_OR_RETURN(const bool has_index, index_.Share());
    Status loaded = LoadFromIndex(has_index, "read");
    if (MayBeReplacedCheckpoint(loaded)) {
      DCP_ASSIGN_OR_RETURN(
          const bool replaced,
          has_index ? index_.ShareAgain() : index_.IsAnyOwnReplaced());
      // Another name: who waits for the ranks to read again must not take their
      // first arrival for it.
      if (replaced) loaded = LoadFromIndex(has_index, "read again");
    }
    DCP_RETURN_IF_ERROR(loaded);
    return std::move(result_);
  }

 private:
  /// Steps 2 to 5.
  Status LoadFromIndex(bool has_index, std::string_view wait) {
    const PoolStay stay(pooling_);
    DCP_ASSIGN_OR_RETURN(
        const std::string pool,
        ReduceScatter(transport_, "plan",
                      Guarded([&]() { return PlanAndOffer(has_index); }),
                      [](const std::vector<std::string>& offers) {
                        return StatusOr<std::vector<std::string>>(
                            FormPools(offers));
                      }));
    touched_ = true;
    Status read = Guarded([&] { return Read(pool); });
    if (WasInterrupted(read)) return read;
    DCP_RETURN_IF_ERROR(transport_.AwaitAll(wait));
    return AgreeOn(transport_, "read", read);
  }

  /// Says what this rank will read to those that may need the same.
  StatusOr<std::string> PlanAndOffer(bool has_index) {
    DCP_RETURN_IF_ERROR(Plan(has_index));
    // With metadata of its own a rank reads files of its own.
    if (pooling_ == nullptr || !has_index) return std::string();
    return pooling_->OfferPool(plan_);
  }

  Status Plan(bool has_index) {
    if (!has_index) DCP_RETURN_IF_ERROR(index_.ReadOwn());
    const Metadata& metadata = index_.value().metadata;
    DCP_RETURN_IF_ERROR(reader_.SetUp(index_.value(), role_));
    DCP_ASSIGN_OR_RETURN(entries_, request_.MakeEntries(metadata));
    DCP_RETURN_IF_ERROR(index_.ReadItemsOf(entries_));
    LoadResult planned;
    DCP_ASSIGN_OR_RETURN(plan_,
                         MakeLoadPlan(entries_, metadata, options_, &planned));
    DCP_RETURN_IF_ERROR(CheckNoneLost(planned.missing));
    result_ = std::move(planned);
    index_.DropPaths();  // large, and read by now
    return reader_.OpenData(plan_);
  }

  /// Where keys may be missing, one that the replaced checkpoint had and this
  /// one lacks would keep what was read of the former: a mix.
  Status CheckNoneLost(const std::vector<std::string>& missing) const {
    if (!touched_) return absl::OkStatus();
    const auto& before = result_.missing;
    for (const std::string& fqn : missing) {
      if (std::find(before.begin(), before.end(), fqn) == before.end()) {
        return DataLoss("the checkpoint was replaced while it was read, and " +
                        fqn + " is not in the new one");
      }
    }
    return absl::OkStatus();
  }

  Status Read(std::string_view pool) {
    if (pooling_ != nullptr) pooling_->JoinPool(pool);
    EntryTarget target(entries_, &transport_);
    const int64_t before = reader_.nbytes_read();
    DCP_RETURN_IF_ERROR(reader_.ReadData(plan_, target));
    result_.objects = target.TakeObjects();
    result_.nbytes_read = reader_.nbytes_read() - before;
    return request_.Accept(result_);
  }

  LoadRequest& request_;
  StorageReader& reader_;
  Transport& transport_;
  const LoadOptions& options_;
  const StorageRole role_;
  PoolingReader* const pooling_;  // null: every rank reads by itself
  SharedIndex index_;
  std::vector<LoadEntry> entries_;
  LoadPlan plan_;
  LoadResult result_;
  bool touched_ = false;  // destinations may hold what was read
};

/// Entries that do not depend on the checkpoint.
class FixedRequest final : public LoadRequest {
 public:
  explicit FixedRequest(std::span<const LoadEntry> entries)
      : entries_(entries) {}

  StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
    return std::vector<LoadEntry>(entries_.begin(), entries_.end());
  }

 private:
  std::span<const LoadEntry> entries_;
};

}  // namespace

StatusOr<LoadResult> Load(LoadRequest& request, StorageReader& reader,
                          Transport& transport, const LoadOptions& options) {
  return Guarded(
      [&] { return LoadOperation(request, reader, transport, options).Run(); });
}

StatusOr<LoadResult> Load(const std::string& path,
                          std::span<const LoadEntry> entries) {
  return Guarded([&] {
    FixedRequest request(entries);
    const auto reader = MakeFileSystemReader({.path = path});
    const auto transport = MakeSingleProcessTransport();
    return Load(request, *reader, *transport, {});
  });
}

}  // namespace dcp
