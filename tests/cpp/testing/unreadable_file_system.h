// UnreadableFileSystem: a file system that does not open some of its files.

#ifndef DCP_TESTS_TESTING_UNREADABLE_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_UNREADABLE_FILE_SYSTEM_H_

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "testing/forwarding_file_system.h"

namespace dcp::testing {

/// To open what ends with `suffix` is ENFILE, whether it is there or not.
class UnreadableFileSystem final : public ForwardingFileSystem {
 public:
  UnreadableFileSystem(std::shared_ptr<FileSystem> base, std::string suffix)
      : ForwardingFileSystem(std::move(base)), suffix_(std::move(suffix)) {}

  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    if (path.ends_with(suffix_)) {
      return ErrnoToStatus(ENFILE, {.op = "open", .path = path});
    }
    return ForwardingFileSystem::Open(path, options);
  }

 private:
  const std::string suffix_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_UNREADABLE_FILE_SYSTEM_H_
