// ByteRuns: elements of messages that lie one behind the other.

#ifndef DCP_PLAN_BYTE_RUNS_H_
#define DCP_PLAN_BYTE_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dcp {

/// Remembers where numbered elements lie, and finds those that come again, as
/// fast as bytes are compared.
class ByteRuns {
 public:
  /// The element of the next number. `bytes`, not empty, must stay.
  void Add(std::string_view bytes);

  /// How many elements behind number `last`, where it was added, are the
  /// beginning of `rest`: those of the next numbers; `most` at most.
  size_t CountAfter(uint32_t last, std::string_view rest, size_t most) const;
  /// The bytes of so many.
  size_t NbytesAfter(uint32_t last, size_t count) const {
    return static_cast<size_t>(ends_[last + count] - ends_[last]);
  }

 private:
  std::vector<const char*> ends_;  // by number
  std::vector<uint32_t> firsts_;   // those that lie behind no other
};

}  // namespace dcp

#endif  // DCP_PLAN_BYTE_RUNS_H_
