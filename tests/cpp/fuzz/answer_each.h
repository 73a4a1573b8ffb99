// The loop of programs that tests in Python ask what libdcp makes of a file.

#ifndef DCP_TESTS_FUZZ_ANSWER_EACH_H_
#define DCP_TESTS_FUZZ_ANSWER_EACH_H_

#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace dcp {

/// Reads files from the standard input, each after its length in 8 bytes, and
/// prints a line of JSON for each (tests/python/support/lister.py). Returns
/// main()'s exit code.
inline int AnswerEach(nlohmann::json (*describe)(const std::string& file)) {
  std::ios::sync_with_stdio(false);
  uint64_t nbytes = 0;
  while (std::cin.read(reinterpret_cast<char*>(&nbytes), sizeof(nbytes))) {
    std::string file(nbytes, '\0');
    if (!std::cin.read(file.data(), static_cast<int64_t>(nbytes))) return 1;
    std::cout << describe(file).dump() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace dcp

#endif  // DCP_TESTS_FUZZ_ANSWER_EACH_H_
