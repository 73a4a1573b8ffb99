// TempDirectory: a directory of a test's own, gone when the test is.

#ifndef DCP_TESTS_TESTING_TEMP_DIRECTORY_H_
#define DCP_TESTS_TESTING_TEMP_DIRECTORY_H_

#include <string>

namespace dcp::testing {

class TempDirectory {
 public:
  /// Makes a new directory in `parent`, by default the system's place for such.
  TempDirectory();
  explicit TempDirectory(const std::string& parent);
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  ~TempDirectory();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_TEMP_DIRECTORY_H_
