// The golden checkpoints of tests/golden, for tests and as fuzzing corpus.

#ifndef DCP_TESTS_FORMAT_GOLDEN_H_
#define DCP_TESTS_FORMAT_GOLDEN_H_

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace dcp {

inline std::string ReadWholeFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// All golden checkpoints, as directories, sorted.
inline std::vector<std::filesystem::path> GoldenCheckpoints() {
  std::vector<std::filesystem::path> found;
  for (const auto& version :
       std::filesystem::directory_iterator(DCP_GOLDEN_DIR)) {
    if (!version.is_directory()) continue;
    for (const auto& entry :
         std::filesystem::directory_iterator(version.path())) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_GOLDEN_H_
