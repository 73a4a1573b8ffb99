#include "storage/partial_crcs.h"

#include <iterator>

#include "base/checksum.h"

namespace dcp {

/// Adds `run` at `begin` and joins it with what it touches; false if some of it
/// is there already.
bool PartialCrcs::Join(Runs& runs, int64_t begin, Run run) {
  auto next = runs.lower_bound(begin);
  if (next != runs.end() && next->first < begin + run.nbytes) return false;
  if (next != runs.begin()) {
    const auto before = std::prev(next);
    const int64_t end = before->first + before->second.nbytes;
    if (end > begin) return false;
    if (end == begin) {
      run.crc = Crc32Combine(before->second.crc, run.crc, run.nbytes);
      run.nbytes += before->second.nbytes;
      begin = before->first;
      runs.erase(before);
    }
  }
  if (next != runs.end() && next->first == begin + run.nbytes) {
    run.crc = Crc32Combine(run.crc, next->second.crc, next->second.nbytes);
    run.nbytes += next->second.nbytes;
    runs.erase(next);
  }
  runs.emplace(begin, run);
  return true;
}

Status PartialCrcs::Add(const StoredItem& item, const TensorPlace& place,
                        int64_t begin, int64_t nbytes, uint32_t crc) {
  if (nbytes == 0) return absl::OkStatus();
  Key key(item.path(), place.data_begin, item.index.fqn);
  const MutexLock lock(mutex_);
  Runs& runs = tensors_[key];
  Join(runs, begin, {.nbytes = nbytes, .crc = crc});
  const Run& first = runs.begin()->second;
  if (first.nbytes < place.data_nbytes) return absl::OkStatus();
  const bool is_right = first.crc == place.crc32;
  tensors_.erase(key);
  return is_right ? absl::OkStatus() : DataCrcMismatch(item, place);
}

Status DataCrcMismatch(const StoredItem& item, const TensorPlace& place) {
  return CorruptionError("the tensor's data differs from its recorded CRC-32",
                         {.op = "verify",
                          .path = item.path(),
                          .byte_offset = place.data_begin,
                          .nbytes = place.data_nbytes,
                          .fqn = item.index.fqn});
}

}  // namespace dcp
