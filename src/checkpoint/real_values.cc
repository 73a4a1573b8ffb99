#include "checkpoint/real_values.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "base/cast.h"
#include "checkpoint/tensor_stream.h"

namespace dcp {
namespace {

constexpr size_t kPart = 4096;

StatusOr<const TensorStorageMetadata*> FindRealTensor(const Metadata& metadata,
                                                      std::string_view fqn) {
  const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
  if (tensor == nullptr) {
    return KeyNotFound(fqn,
                       "no tensor " + std::string(fqn) + " in the checkpoint");
  }
  const DTypeInfo& info = GetDTypeInfo(tensor->properties.dtype);
  if (info.kind == DTypeKind::kFloat || info.kind == DTypeKind::kInteger ||
      info.kind == DTypeKind::kBool) {
    return tensor;
  }
  return Unimplemented("statistics are of real numbers, and " +
                       std::string(fqn) + " is of dtype " +
                       std::string(info.name));
}

}  // namespace

StatusOr<const TensorStorageMetadata*> VisitRealValues(
    OpenedPath& opened, std::string_view fqn,
    const std::function<void(std::span<double>)>& visit) {
  DCP_ASSIGN_OR_RETURN(const TensorStorageMetadata* tensor,
                       FindRealTensor(opened.index.metadata, fqn));
  DCP_RETURN_IF_ERROR(PrepareToRead(opened));
  const DType dtype = tensor->properties.dtype;
  const auto itemsize = static_cast<size_t>(ItemSize(dtype));
  const int64_t nbytes = Numel(tensor->size) * ItemSize(dtype);
  TensorStream stream(opened.index, *opened.reader, {&fqn, 1});
  DCP_RETURN_IF_ERROR(stream.Start());
  std::vector<std::byte> step(TensorStream::kStepNbytes);
  std::vector<double> values(kPart);
  for (int64_t at = 0; at < nbytes; at += TensorStream::kStepNbytes) {
    std::span<std::byte> bytes = std::span(step).first(
        static_cast<size_t>(std::min(TensorStream::kStepNbytes, nbytes - at)));
    DCP_RETURN_IF_ERROR(stream.Read(0, at, bytes));
    while (!bytes.empty()) {
      const size_t count = std::min(kPart, bytes.size() / itemsize);
      CastElements(dtype, bytes.data(), DType::kFloat64,
                   reinterpret_cast<std::byte*>(values.data()),
                   static_cast<int64_t>(count));
      visit(std::span(values).first(count));
      bytes = bytes.subspan(count * itemsize);
    }
  }
  return tensor;
}

}  // namespace dcp
