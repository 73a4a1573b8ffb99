// MemoryFile: an open file of the memory file system.

#ifndef EXAMPLES_MEMORY_FILE_H_
#define EXAMPLES_MEMORY_FILE_H_

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "dcp/file_system.h"

namespace examples {

/// The bytes of a file. Growing moves them, so even writes to disjoint ranges,
/// which may come from several threads, take turns.
struct MemoryContent {
  std::mutex mutex;
  std::string bytes;  // guarded by mutex
};

/// Opened for kRead or kCreateNew. Reads and writes may run concurrently;
/// Close() is called when they are done.
class MemoryFile final : public dcp::File {
 public:
  MemoryFile(std::string path, std::shared_ptr<MemoryContent> content,
             dcp::OpenMode mode);

  const std::string& path() const override { return path_; }
  dcp::Status ReadFully(int64_t byte_offset,
                        std::span<const dcp::IoSlice> slices) override;
  dcp::StatusOr<int64_t> ReadCached(
      int64_t byte_offset, std::span<const dcp::IoSlice> slices) override;
  dcp::Status WriteFully(int64_t byte_offset,
                         std::span<const dcp::IoSlice> slices) override;
  dcp::StatusOr<int64_t> Size() override;
  dcp::Status Truncate(int64_t nbytes) override;
  dcp::Status Allocate(int64_t nbytes) override;
  dcp::Status Sync() override;
  dcp::Status Close() override;

 private:
  /// Whether the file is open, and in `mode`.
  dcp::Status Require(const char* op, dcp::OpenMode mode) const;
  dcp::Status Failed(int error_number, const char* op, int64_t offset) const;

  const std::string path_;
  std::shared_ptr<MemoryContent> content_;  // null once closed
  const dcp::OpenMode mode_;
};

}  // namespace examples

#endif  // EXAMPLES_MEMORY_FILE_H_
