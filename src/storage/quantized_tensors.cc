#include "storage/quantized_tensors.h"

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/wire.h"

namespace dcp {
namespace {

struct Suffixes {
  std::string_view tensor;
  std::string_view scales;
  QuantizedTensor::Kind kind;
};
constexpr Suffixes kSuffixes[] = {
    {".weight", ".weight_scale_inv", QuantizedTensor::Kind::kBlockScales},
    {"_blocks", "_scales", QuantizedTensor::Kind::kMxfp4}};

int64_t BlocksIn(int64_t size, int64_t block_size) {
  return (size + block_size - 1) / block_size;
}

/// The shape that the scales of `tensor` have; nullopt if it can have none.
std::optional<Dims> ShapeOfScales(const TensorStorageMetadata& tensor,
                                  QuantizedTensor::Kind kind,
                                  int64_t block_size) {
  const Dims& size = tensor.size;
  if (kind == QuantizedTensor::Kind::kBlockScales) {
    if (size.size() != 2 || ItemSize(tensor.properties.dtype) != 1) {
      return std::nullopt;
    }
    return Dims{BlocksIn(size[0], block_size), BlocksIn(size[1], block_size)};
  }
  if (size.size() < 2 || tensor.properties.dtype != DType::kUInt8) {
    return std::nullopt;
  }
  return Dims(size.span().first(static_cast<size_t>(size.size() - 1)));
}

/// [..., G, B] -> [..., G * B * 2]
Dims Unpacked(const Dims& size) {
  Dims unpacked(size.span().first(static_cast<size_t>(size.size() - 1)));
  unpacked[unpacked.size() - 1] *= size[size.size() - 1] * 2;
  return unpacked;
}

Status Check(const std::string& key, const TensorStorageMetadata& tensor,
             const TensorStorageMetadata& scales,
             const std::optional<Dims>& expected) {
  if (!expected || tensor.chunks.size() != 1 || scales.chunks.size() != 1) {
    return Unimplemented(
        "the quantized tensor " + key + " of type " +
        std::string(DTypeName(tensor.properties.dtype)) + " and shape " +
        ToString(tensor.size) +
        " cannot be dequantized: it must be a whole matrix of one byte an "
        "element, or whole blocks of uint8");
  }
  if (scales.size != *expected) {
    return DataLoss("the scales of " + key + " have the shape " +
                    ToString(scales.size) + ", and should have " +
                    ToString(*expected));
  }
  return absl::OkStatus();
}

/// The key of the scales of `key`, if it is one of a quantized tensor.
std::optional<std::pair<std::string, QuantizedTensor::Kind>> ScalesOf(
    std::string_view key, const Metadata& metadata) {
  for (const Suffixes& suffixes : kSuffixes) {
    if (!key.ends_with(suffixes.tensor)) continue;
    std::string scales(key.substr(0, key.size() - suffixes.tensor.size()));
    scales += suffixes.scales;
    if (metadata.FindTensor(scales) != nullptr) {
      return std::pair(std::move(scales), suffixes.kind);
    }
  }
  return std::nullopt;
}

}  // namespace

StatusOr<QuantizedTensors> FindQuantized(const DequantizeOptions& options,
                                         Metadata* metadata) {
  QuantizedTensors found;
  for (const auto& [key, entry] : metadata->entries()) {
    const auto scales = ScalesOf(key, *metadata);
    if (!scales) continue;
    const auto& tensor = std::get<TensorStorageMetadata>(entry);
    const auto& [name, kind] = *scales;
    DCP_RETURN_IF_ERROR(Check(key, tensor, *metadata->FindTensor(name),
                              ShapeOfScales(tensor, kind, options.block_size)));
    found[key] = {.kind = kind,
                  .stored_dtype = tensor.properties.dtype,
                  .group_nbytes = tensor.size[tensor.size.size() - 1],
                  .scales = name};
  }
  for (const auto& [key, quantized] : found) {
    auto& tensor = std::get<TensorStorageMetadata>(*metadata->FindMutable(key));
    tensor.properties.dtype = options.target_dtype;
    if (quantized.kind != QuantizedTensor::Kind::kMxfp4) continue;
    tensor.size = Unpacked(tensor.size);
    // One index more than the chunk has dimensions would be left otherwise.
    const MetadataIndex packed{.fqn = key, .offset = tensor.chunks[0].offsets};
    tensor.chunks = {
        {.offsets = Dims::Filled(tensor.size.size(), 0), .sizes = tensor.size}};
    auto place = metadata->storage_data.extract(packed);
    place.key().offset = tensor.chunks[0].offsets;
    metadata->storage_data.insert(std::move(place));
  }
  return found;
}

std::string SerializeQuantized(const QuantizedTensors& tensors) {
  WireWriter out;
  out.PutVarint(tensors.size());
  for (const auto& [key, tensor] : tensors) {
    out.PutString(key);
    out.PutU8(static_cast<uint8_t>(tensor.kind));
    out.PutU8(static_cast<uint8_t>(tensor.stored_dtype));
    out.PutSigned(tensor.group_nbytes);
    out.PutString(tensor.scales);
  }
  return std::move(out).Take();
}

StatusOr<QuantizedTensors> ParseQuantized(std::string_view data) {
  WireReader in(data, "the list of quantized tensors");
  QuantizedTensors tensors;
  for (size_t left = in.Count(5); left > 0; --left) {
    std::string key(in.String());
    const uint8_t kind = in.U8();
    const auto dtype = DTypeFromCode(in.U8());
    if (!dtype) return DataLoss("a quantized tensor is of no known dtype");
    const int64_t group_nbytes = in.Signed();
    if (kind != 1 && kind != 2) in.Fail();
    DCP_RETURN_IF_ERROR(in.status());
    tensors[std::move(key)] = {.kind = QuantizedTensor::Kind{kind},
                               .stored_dtype = *dtype,
                               .group_nbytes = group_nbytes,
                               .scales = std::string(in.String())};
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return tensors;
}

}  // namespace dcp
