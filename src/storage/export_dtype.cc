#include "storage/export_dtype.h"

#include <string>

namespace dcp {

Status CheckExportDType(std::optional<DType> dtype) {
  if (!dtype || GetDTypeInfo(*dtype).kind == DTypeKind::kFloat) {
    return absl::OkStatus();
  }
  return InvalidArgument("export_dtype must be a floating-point dtype, not " +
                         std::string(DTypeName(*dtype)));
}

}  // namespace dcp
