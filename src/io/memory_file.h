// MemoryFile: an open file of the memory file system.

#ifndef DCP_IO_MEMORY_FILE_H_
#define DCP_IO_MEMORY_FILE_H_

#include <memory>
#include <string>

#include "base/mutex.h"
#include "dcp/file_system.h"

namespace dcp {

/// The content of one file, shared by its names and whoever has it open.
struct MemoryFileData {
  Mutex mutex;
  std::string bytes ABSL_GUARDED_BY(mutex);
};

/// Thread-safe, except that Close() must not run beside other calls. Errors
/// are those that the POSIX file system gives.
class MemoryFile final : public File {
 public:
  MemoryFile(std::string path, std::shared_ptr<MemoryFileData> data,
             OpenMode mode);

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

 private:
  Status CheckOpen(const char* op) const;
  Status CheckWritable(const char* op) const;

  const std::string path_;
  std::shared_ptr<MemoryFileData> data_;  // null once closed
  const OpenMode mode_;
};

}  // namespace dcp

#endif  // DCP_IO_MEMORY_FILE_H_
