// Bytes for the conformance suites: random ones, and slices over strings.

#ifndef DCP_TESTS_CONFORMANCE_BYTES_H_
#define DCP_TESTS_CONFORMANCE_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "dcp/file_system.h"

namespace dcp::conformance {

/// The same bytes for the same seed.
inline std::string RandomBytes(uint64_t seed, size_t nbytes) {
  std::mt19937_64 random(seed);
  std::string bytes(nbytes, '\0');
  uint64_t word = 0;
  for (size_t i = 0; i < nbytes; ++i) {
    if (i % 8 == 0) word = random();
    bytes[i] = static_cast<char>(word >> (i % 8 * 8));
  }
  return bytes;
}

/// A slice over `bytes`, which must outlive it.
inline IoSlice SliceOf(std::string& bytes) {
  return {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// Writes `bytes` at `byte_offset` in one slice.
inline Status WriteAt(File& file, int64_t byte_offset, std::string bytes) {
  const IoSlice slice = SliceOf(bytes);
  return file.WriteFully(byte_offset, {&slice, 1});
}

/// Reads `nbytes` at `byte_offset` in one slice.
inline StatusOr<std::string> ReadAt(File& file, int64_t byte_offset,
                                    size_t nbytes) {
  std::string bytes(nbytes, '?');
  const IoSlice slice = SliceOf(bytes);
  DCP_RETURN_IF_ERROR(file.ReadFully(byte_offset, {&slice, 1}));
  return bytes;
}

/// Memory that satisfies every direct I/O alignment.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t nbytes)
      : nbytes_(nbytes),
        data_(static_cast<std::byte*>(std::aligned_alloc(
                  kAlignment,
                  (nbytes + kAlignment - 1) / kAlignment * kAlignment)),
              &std::free) {}

  std::byte* data() { return data_.get(); }
  IoSlice slice() { return {data_.get(), nbytes_}; }
  std::string str() const {
    return {reinterpret_cast<const char*>(data_.get()), nbytes_};
  }
  void Fill(const std::string& bytes) {
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(data_.get()));
  }

 private:
  static constexpr size_t kAlignment = 1 << 16;
  size_t nbytes_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_BYTES_H_
