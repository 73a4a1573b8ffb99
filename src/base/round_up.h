// RoundUpTo: sizes and offsets in whole units.

#ifndef DCP_BASE_ROUND_UP_H_
#define DCP_BASE_ROUND_UP_H_

namespace dcp {

/// The next multiple of `unit`, which is positive; `value` is not negative.
template <typename Integer>
constexpr Integer RoundUpTo(Integer value, Integer unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace dcp

#endif  // DCP_BASE_ROUND_UP_H_
