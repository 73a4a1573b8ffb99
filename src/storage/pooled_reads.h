// PooledReads: reading together with other ranks of this host, see
// pool_member.cc.

#ifndef DCP_STORAGE_POOLED_READS_H_
#define DCP_STORAGE_POOLED_READS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/plan.h"
#include "dcp/status.h"
#include "storage/pool_needs.h"
#include "storage/pool_reading.h"
#include "storage/pool_taking.h"

namespace dcp {

/// A StorageReader whose ranks may read together.
class PoolingReader {
 public:
  virtual ~PoolingReader() = default;
  /// After OpenData: what this rank says to the others (FormPools). Empty if it
  /// reads alone, which it also does where it cannot share memory.
  virtual StatusOr<std::string> OfferPool(const LoadPlan& plan) = 0;
  /// Has the next ReadData, of the same plan, read together with those that
  /// `pool`, of FormPools, names: nobody if it is empty.
  virtual void JoinPool(std::string_view pool) = 0;
  /// When all ranks have read: until then, some may still come.
  virtual void LeavePool() = 0;
};

/// One rank's part in a pool, for readers of files. One thread at a time.
class PooledReads {
 public:
  /// For a load from `directory`, an absolute path. Null if it is better alone.
  static std::unique_ptr<PooledReads> Make(const PoolNeeds& needs,
                                           const std::string& directory,
                                           const IoOptions& io);

  const std::string& offer() const { return member_->offer(); }
  void Join(std::string_view pool);
  /// After Join: whether anything is read together. Then it takes half of the
  /// memory that Make was given, and the load's own reads have the other half.
  bool has_pieces() const { return !member_->division().pieces.empty(); }

  /// Begins to read this rank's part of the work.
  void Start(const PipelineOptions& options, PoolReading::MakeFiles make_files);
  /// See PoolTaking. After Start.
  Status Take(std::span<const PoolTaking::FilePart> files,
              std::string_view last_file, int64_t end) {
    return taking_->Take(files, last_file, end);
  }
  /// Waits until the others need nothing of this rank any more.
  Status Finish(const std::function<Status()>& proceed);
  /// What this rank read for the pool.
  int64_t nbytes_read() const { return reading_->nbytes_read(); }

 private:
  explicit PooledReads(std::unique_ptr<PoolMember> member)
      : member_(std::move(member)) {}

  const std::unique_ptr<PoolMember> member_;
  std::unique_ptr<PoolTaking> taking_;    // from Start on
  std::unique_ptr<PoolReading> reading_;  // likewise; goes first
};

}  // namespace dcp

#endif  // DCP_STORAGE_POOLED_READS_H_
