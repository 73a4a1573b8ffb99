// DirectFileSystem: files that ask for direct I/O, on any machine.

#ifndef DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "testing/forwarding_file_system.h"

namespace dcp::testing {

/// Passes everything on to `base`; files that are opened with another
/// direct_io than kOff report `alignment`, and transfers of theirs that do not
/// fit it are counted. Thread-safe. Files must not outlive it.
class DirectFileSystem final : public ForwardingFileSystem {
 public:
  explicit DirectFileSystem(std::shared_ptr<FileSystem> base,
                            DirectIoAlignment alignment = {})
      : ForwardingFileSystem(std::move(base)), alignment_(alignment) {}

  /// Files refuse direct I/O after so many times that they were asked for it,
  /// as those of POSIX do when a transfer was refused.
  void RefuseAfter(int64_t asks) { asks_left_ = asks; }

  /// Writes, and whole reads, that were not aligned so far.
  int64_t unaligned_writes() const { return unaligned_writes_; }
  int64_t unaligned_reads() const { return unaligned_reads_; }

  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override;

 private:
  class DirectFile;

  const DirectIoAlignment alignment_;
  std::atomic<int64_t> asks_left_{std::numeric_limits<int64_t>::max()};
  std::atomic<int64_t> unaligned_writes_{0};
  std::atomic<int64_t> unaligned_reads_{0};
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_DIRECT_FILE_SYSTEM_H_
