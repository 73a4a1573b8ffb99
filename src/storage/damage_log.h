// DamageLog: what a check of a checkpoint finds.

#ifndef DCP_STORAGE_DAMAGE_LOG_H_
#define DCP_STORAGE_DAMAGE_LOG_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/verify.h"
#include "storage/stored_item.h"

namespace dcp {

/// Thread-safe.
class DamageLog {
 public:
  void Add(Damage damage);
  /// `status`, with the file and the range that it names, else `fallback`'s.
  void Add(const Status& status, Damage fallback);
  /// `status` of `item`, whose range is in doubt as a whole.
  void AddItem(const Status& status, const StoredItem& item);

  /// By file, offset and key; equal ones once.
  std::vector<Damage> Take();

 private:
  Mutex mutex_;
  std::vector<Damage> damages_ ABSL_GUARDED_BY(mutex_);
};

/// Bytes [begin, end) of a file, and what is wrong with them.
struct BadRange {
  int64_t begin = 0;
  int64_t end = 0;
  std::string message;
};

/// Adds `range` of the file `path` once for every key whose items overlap it;
/// without a key if there are none. `items` are the file's, by offset.
void AddRange(const BadRange& range, const std::string& path,
              std::span<const StoredItem> items, DamageLog& log);

}  // namespace dcp

#endif  // DCP_STORAGE_DAMAGE_LOG_H_
