// The dtype that a save stores floating-point tensors in.

#ifndef DCP_STORAGE_EXPORT_DTYPE_H_
#define DCP_STORAGE_EXPORT_DTYPE_H_

#include <optional>

#include "dcp/dtype.h"
#include "dcp/status.h"

namespace dcp {

/// Weights rounded to integers would be a checkpoint that nobody meant.
/// \error kInvalidArgument  `dtype` is no floating-point one
Status CheckExportDType(std::optional<DType> dtype);

}  // namespace dcp

#endif  // DCP_STORAGE_EXPORT_DTYPE_H_
