// KeyTable: numbers for fqns.

#ifndef DCP_PLAN_KEY_TABLE_H_
#define DCP_PLAN_KEY_TABLE_H_

#include <bit>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace dcp {

/// Numbers fqns in the order in which they come.
class KeyTable {
 public:
  explicit KeyTable(size_t most) : slots_(std::bit_ceil(2 * most + 1)) {}

  /// Views must live as long as the table.
  uint32_t NumberOf(std::string_view fqn) {
    size_t at = std::hash<std::string_view>()(fqn);
    for (;; ++at) {
      uint32_t& slot = slots_[at & (slots_.size() - 1)];
      if (slot == 0) {
        fqns_.push_back(fqn);
        slot = static_cast<uint32_t>(fqns_.size());
      }
      if (fqns_[slot - 1] == fqn) return slot - 1;
    }
  }

 private:
  std::vector<uint32_t> slots_;  // number + 1, 0 if free
  std::vector<std::string_view> fqns_;
};

}  // namespace dcp

#endif  // DCP_PLAN_KEY_TABLE_H_
