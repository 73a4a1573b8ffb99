// WatchedFile: a file whose calls come back, with an error if need be.

#ifndef DCP_IO_WATCHED_FILE_H_
#define DCP_IO_WATCHED_FILE_H_

#include <memory>
#include <string>

#include "dcp/file_system.h"
#include "io/call_watch.h"
#include "io/held_locks.h"

namespace dcp {

/// A file whose calls are made by a CallWatch. What it transfers is copied on
/// the way, because a late call must not touch the caller's memory; bulk data
/// goes through unwatched(), with a watch of its own.
class WatchedFile final : public File {
 public:
  /// \param locks  kept while the file is closed, which replaces an object;
  ///     null where closing publishes nothing.
  WatchedFile(std::shared_ptr<File> base, std::shared_ptr<CallWatch> watch,
              std::shared_ptr<HeldLocks> locks);
  ~WatchedFile() override;

  const std::shared_ptr<File>& unwatched() const { return base_; }

  const std::string& path() const override { return base_->path(); }
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
  std::optional<DirectIoAlignment> direct_io() const override {
    return base_->direct_io();
  }
  int fd() const override { return base_->fd(); }
  int direct_fd() const override { return base_->direct_fd(); }

 private:
  Status ReadPiece(int64_t byte_offset, std::span<const IoSlice> slices);
  Status WritePiece(int64_t byte_offset, std::span<const IoSlice> slices);

  std::shared_ptr<File> base_;
  const std::shared_ptr<CallWatch> watch_;
  const std::shared_ptr<HeldLocks> locks_;
  bool is_closed_ = false;
};

}  // namespace dcp

#endif  // DCP_IO_WATCHED_FILE_H_
