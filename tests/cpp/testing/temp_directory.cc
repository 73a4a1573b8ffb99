#include "testing/temp_directory.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace dcp::testing {

TempDirectory::TempDirectory()
    : TempDirectory(std::filesystem::temp_directory_path().string()) {}

TempDirectory::TempDirectory(const std::string& parent)
    : path_(parent + "/dcp-test-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "mkdtemp " + path_);
  }
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dcp::testing
