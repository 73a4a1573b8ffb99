// PartialCrcs: the CRC-32s of stored tensors that are read bit by bit.

#ifndef DCP_STORAGE_PARTIAL_CRCS_H_
#define DCP_STORAGE_PARTIAL_CRCS_H_

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/status.h"
#include "storage/stored_item.h"

namespace dcp {

/// Puts the CRC-32 of a tensor's data together from those of its parts, which
/// may come in any order and from several reads. Thread-safe.
class PartialCrcs {
 public:
  /// Part [begin, begin + nbytes) of the data at `place`, of `item`, has the
  /// CRC-32 `crc`. A part that was there before is left out.
  /// \error kDataLoss  it was the last part, and the whole differs from what is
  ///     recorded
  Status Add(const StoredItem& item, const TensorPlace& place, int64_t begin,
             int64_t nbytes, uint32_t crc);

 private:
  struct Run {
    int64_t nbytes = 0;
    uint32_t crc = 0;
  };
  using Runs = std::map<int64_t, Run>;  // by where they begin; none touch
  /// File, first byte of the data, key.
  using Key = std::tuple<std::string, int64_t, std::string>;

  static bool Join(Runs& runs, int64_t begin, Run run);

  Mutex mutex_;
  std::map<Key, Runs> tensors_ ABSL_GUARDED_BY(mutex_);
};

/// The error of a tensor whose data is not what was recorded.
Status DataCrcMismatch(const StoredItem& item, const TensorPlace& place);

}  // namespace dcp

#endif  // DCP_STORAGE_PARTIAL_CRCS_H_
