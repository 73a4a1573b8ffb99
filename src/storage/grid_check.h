// GridCheck: a whole file against the checksums of the sidecar.

#ifndef DCP_STORAGE_GRID_CHECK_H_
#define DCP_STORAGE_GRID_CHECK_H_

#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "storage/block_check.h"
#include "storage/damage_log.h"
#include "storage/open_files.h"

namespace dcp {

/// Reports its file's size, if it is wrong, at once and the rest in Finish().
class GridCheck final : public BlockCheck {
 public:
  /// `file.record` is set. `items` are the file's, by offset.
  GridCheck(OpenFile& file, std::span<const StoredItem> items, DamageLog& log);

  File& file() override { return *file_.file; }
  std::vector<CheckedBlock> Blocks(int64_t max_nbytes) override;
  void Check(const CheckedBlock& block,
             std::span<const std::byte> bytes) override;
  void ReadFailed(const CheckedBlock& block, const Status& error) override;
  void Finish() override;

 private:
  void AddBad(BadRange range);

  OpenFile& file_;
  const std::span<const StoredItem> items_;
  DamageLog& log_;
  Mutex mutex_;
  std::vector<BadRange> bad_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dcp

#endif  // DCP_STORAGE_GRID_CHECK_H_
