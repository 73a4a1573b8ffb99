// What a fuzz target defines, for libFuzzer and for the standalone driver.

#ifndef DCP_TESTS_FUZZ_FUZZ_TARGET_H_
#define DCP_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

/// libFuzzer's entry point. Returns 0; aborts where a promise is broken.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace dcp {

/// Valid inputs to start from.
std::vector<std::string> FuzzSeeds();
/// Byte strings that mean something in the format.
std::vector<std::string> FuzzDictionary();

/// That of messages made by WireWriter: the varints 2^64 - 1 and 2^31.
inline std::vector<std::string> WireDictionary() {
  return {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x08"};
}

/// Ends the process when `held` is false: a promise of the parser is broken.
inline void Require(bool held, const char* promise) {
  if (held) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

}  // namespace dcp

#endif  // DCP_TESTS_FUZZ_FUZZ_TARGET_H_
