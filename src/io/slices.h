// Slices: the scattered memory of one transfer, and a position in it.

#ifndef DCP_IO_SLICES_H_
#define DCP_IO_SLICES_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"

namespace dcp {

/// Sum of the slices' sizes, after the checks that every read and write needs:
/// the offset is not negative and the range ends within int64.
/// \error kInvalidArgument  names `path`
StatusOr<int64_t> CheckedTotal(std::string_view path, int64_t byte_offset,
                               std::span<const IoSlice> slices);

/// The status of a read that met the end of the file: kDataLoss "file ends at
/// <end_offset> B".
Status EndOfFileError(std::string_view path, int64_t end_offset,
                      int64_t missing_nbytes);

/// `slices` from byte `begin` on, as many as make at most `nbytes`.
std::vector<IoSlice> SubSlices(std::span<const IoSlice> slices, int64_t begin,
                               int64_t nbytes);

/// Copies between `slices` and contiguous memory, first bytes first. `nbytes`
/// must not exceed the sum of the slices.
void CopyToSlices(const std::byte* from, int64_t nbytes,
                  std::span<const IoSlice> slices);
void CopyFromSlices(std::span<const IoSlice> slices, int64_t nbytes,
                    std::byte* to);

/// Walks through slices, handing out iovecs for the system calls.
class SliceCursor {
 public:
  explicit SliceCursor(std::span<const IoSlice> slices) : slices_(slices) {}

  /// Fills `*iov` with what comes next: at most `max_count` entries and
  /// `max_nbytes` bytes, no empty entries. Returns the bytes in it. Does not
  /// move the cursor.
  int64_t Next(size_t max_count, int64_t max_nbytes, std::vector<iovec>* iov);

  /// Moves on by `nbytes`, which must be left.
  void Advance(int64_t nbytes);

 private:
  std::span<const IoSlice> slices_;
  size_t index_ = 0;    // of the slice that holds the position
  size_t skipped_ = 0;  // bytes of it before the position
};

}  // namespace dcp

#endif  // DCP_IO_SLICES_H_
