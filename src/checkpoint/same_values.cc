#include "checkpoint/same_values.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>

#include "base/digest128.h"
#include "checkpoint/tensor_stream.h"

namespace dcp {
namespace {

/// The digest of tensor `number` of `stream`, which has `nbytes`.
StatusOr<Digest128> DigestOfTensor(TensorStream& stream, size_t number,
                                   int64_t nbytes) {
  Digest128 digest;
  // The digest of what came before, and what follows it.
  std::string block;
  for (int64_t at = 0; at < nbytes; at += TensorStream::kStepNbytes) {
    const auto count =
        static_cast<size_t>(std::min(TensorStream::kStepNbytes, nbytes - at));
    block.resize(sizeof(digest) + count);
    std::memcpy(block.data(), &digest, sizeof(digest));
    auto* const data = reinterpret_cast<std::byte*>(block.data());
    DCP_RETURN_IF_ERROR(
        stream.Read(number, at, std::span(data + sizeof(digest), count)));
    digest = DigestOf(block);
  }
  return digest;
}

}  // namespace

StatusOr<bool> HoldSameValues(const CheckpointIndex& index,
                              StorageReader& reader, std::string_view a,
                              std::string_view b) {
  const TensorStorageMetadata& tensor = *index.metadata.FindTensor(a);
  const TensorStorageMetadata& other = *index.metadata.FindTensor(b);
  const DType dtype = tensor.properties.dtype;
  if (dtype != other.properties.dtype || tensor.size != other.size) {
    return false;
  }
  const std::array<std::string_view, 2> keys = {a, b};
  TensorStream stream(index, reader, keys);
  if (stream.IsEncoded(0)) return NeedsTorch(std::string(a));
  DCP_RETURN_IF_ERROR(stream.Start());
  const int64_t nbytes = Numel(tensor.size) * ItemSize(dtype);
  DCP_ASSIGN_OR_RETURN(const Digest128 first,
                       DigestOfTensor(stream, 0, nbytes));
  DCP_ASSIGN_OR_RETURN(const Digest128 second,
                       DigestOfTensor(stream, 1, nbytes));
  return first == second;
}

}  // namespace dcp
