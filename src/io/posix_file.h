// PosixFile: an open file of the operating system.

#ifndef DCP_IO_POSIX_FILE_H_
#define DCP_IO_POSIX_FILE_H_

#include <atomic>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "dcp/file_system.h"
#include "dcp/io_engine.h"
#include "io/direct_io.h"
#include "io/transfer.h"

namespace dcp {

/// Thread-safe, except that Close() must not run beside other calls.
class PosixFile final : public File {
 public:
  /// `direct` is a second descriptor of the same file, or absent.
  PosixFile(std::string path, UniqueFd fd,
            std::optional<DirectDescriptor> direct);

  const std::string& path() const override { return path_; }
  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override;
  StatusOr<int64_t> ReadCached(int64_t byte_offset,
                               std::span<const IoSlice> slices) override;
  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override;
  StatusOr<int64_t> Size() override;
  Status Truncate(int64_t nbytes) override;
  Status Allocate(int64_t nbytes) override;
  Status Sync() override;
  Status Close() override;
  std::optional<DirectIoAlignment> direct_io() const override;
  int fd() const override { return fd_.get(); }
  int direct_fd() const override;

 private:
  Status CheckOpen(const char* op) const;
  Status Run(IoOp op, int64_t byte_offset, std::span<const IoSlice> slices);

  const std::string path_;
  UniqueFd fd_;
  UniqueFd direct_fd_;
  const DirectIoAlignment alignment_;
  std::atomic<bool> direct_enabled_;
  std::atomic<bool> has_cached_reads_ = true;
  Mutex sync_mutex_;
  Status sync_error_ ABSL_GUARDED_BY(sync_mutex_);
};

}  // namespace dcp

#endif  // DCP_IO_POSIX_FILE_H_
