// TemporaryDirectory: an empty directory that goes with the object.

#ifndef EXAMPLES_TESTS_TEMPORARY_DIRECTORY_H_
#define EXAMPLES_TESTS_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace examples {

class TemporaryDirectory {
 public:
  TemporaryDirectory()
      : path_((std::filesystem::temp_directory_path() / "examples-XXXXXX")
                  .string()) {
    if (::mkdtemp(path_.data()) == nullptr) {
      throw std::runtime_error("cannot make " + path_);
    }
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string PathOf(const std::string& name) const {
    return path_ + "/" + name;
  }
  size_t CountFiles() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }

 private:
  std::string path_;
};

}  // namespace examples

#endif  // EXAMPLES_TESTS_TEMPORARY_DIRECTORY_H_
