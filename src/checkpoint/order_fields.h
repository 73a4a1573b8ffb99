// Fields of an order on the wire that are read with care.

#ifndef DCP_CHECKPOINT_ORDER_FIELDS_H_
#define DCP_CHECKPOINT_ORDER_FIELDS_H_

#include <cstdint>
#include <optional>

#include "base/wire.h"
#include "dcp/dtype.h"

namespace dcp {

template <typename Enum>
Enum GetEnum(WireReader& in, Enum last) {
  const uint8_t value = in.U8();
  if (value > static_cast<uint8_t>(last)) in.Fail();
  return in.ok() ? static_cast<Enum>(value) : Enum{};
}

inline int GetInt(WireReader& in) {
  const int64_t value = in.Signed();
  if (value != static_cast<int>(value)) in.Fail();
  return in.ok() ? static_cast<int>(value) : 0;
}

inline DType GetDType(WireReader& in) {
  const std::optional<DType> dtype = DTypeFromCode(in.U8());
  if (!dtype) in.Fail();
  return dtype.value_or(DType::kUInt8);
}

}  // namespace dcp

#endif  // DCP_CHECKPOINT_ORDER_FIELDS_H_
