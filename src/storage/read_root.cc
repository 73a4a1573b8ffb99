#include "storage/read_root.h"

namespace dcp {

std::string ReadRoot(std::string_view directory) {
  for (size_t begin = 0; begin < directory.size();) {
    size_t end = directory.find('/', begin);
    if (end == std::string_view::npos) end = directory.size();
    if (directory.substr(begin, end - begin).starts_with("models--")) {
      return std::string(directory.substr(0, end));
    }
    begin = end + 1;
  }
  return std::string(directory);
}

}  // namespace dcp
