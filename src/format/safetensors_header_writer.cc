#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "base/printable.h"
#include "base/round_up.h"
#include "base/wire.h"
#include "format/json_writer.h"
#include "format/safetensors_header.h"
#include "format/utf8.h"

namespace dcp {
namespace {

/// By what JSON and layout go: safetensors 0.8 tensor.rs prepare.
bool GoesBefore(const SafetensorsTensor& a, const SafetensorsTensor& b) {
  return std::tie(b.dtype, a.name) < std::tie(a.dtype, b.name);
}

Status CheckText(std::string_view what, std::string_view text) {
  if (IsValidUtf8(text)) return absl::OkStatus();
  return InvalidArgument(std::string(what) + " \"" + Printable(text) +
                         "\" is not UTF-8, as a safetensors file needs it");
}

/// Of the metadata's and the tensors' texts; tensors of one name are found
/// wherever they stand.
Status CheckNames(const std::vector<SafetensorsTensor>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  for (const auto& [key, value] : metadata) {
    DCP_RETURN_IF_ERROR(CheckText("the metadata key", key));
    DCP_RETURN_IF_ERROR(CheckText("the metadata value", value));
  }
  std::vector<std::string_view> names = {kSafetensorsMetadataKey};
  names.reserve(tensors.size() + 1);
  for (const SafetensorsTensor& tensor : tensors) {
    DCP_RETURN_IF_ERROR(CheckText("the tensor name", tensor.name));
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return InvalidArgument(
      "two tensors, or a tensor and the metadata, have the "
      "name \"" +
      Printable(*twice) + "\" in a safetensors file");
}

/// Sets begin and end.
Status LayOut(std::vector<SafetensorsTensor>* tensors) {
  constexpr int64_t kMaxEnd = std::numeric_limits<int64_t>::max() -
                              kMaxSafetensorsHeaderNbytes -
                              kSafetensorsLengthNbytes;
  int64_t end = 0;
  for (SafetensorsTensor& tensor : *tensors) {
    const auto numel = CheckedNumel(tensor.shape);
    const auto nbytes =
        numel ? SafetensorsNbytes(tensor.dtype, *numel) : std::nullopt;
    if (!nbytes || *nbytes > kMaxEnd - end ||
        tensor.shape.size() > Dims::kMaxDims) {
      const Status status = InvalidArgument(
          "tensor \"" + Printable(tensor.name) + "\" of shape " +
          ToString(tensor.shape) + " and type " +
          std::string(GetSafetensorsDTypeInfo(tensor.dtype).name) +
          " does not fit a safetensors file: no whole number of bytes, more "
          "than a file can have, or more than 64 dimensions");
      return WithDetail(status, {.fqn = tensor.name});
    }
    tensor.begin = end;
    end += *nbytes;
    tensor.end = end;
  }
  return absl::OkStatus();
}

void AppendString(std::string_view text, std::string* out) {
  AppendJsonString(text, JsonEscapes::kMinimal, out);
}

void AppendMetadata(const std::map<std::string, std::string>& metadata,
                    std::string* out) {
  AppendString(kSafetensorsMetadataKey, out);
  char separator = '{';
  *out += ':';
  for (const auto& [key, value] : metadata) {
    *out += std::exchange(separator, ',');
    AppendString(key, out);
    *out += ':';
    AppendString(value, out);
  }
  *out += '}';
}

void AppendTensor(const SafetensorsTensor& tensor, std::string* out) {
  AppendString(tensor.name, out);
  *out += ":{\"dtype\":\"";
  *out += GetSafetensorsDTypeInfo(tensor.dtype).name;
  *out += "\",\"shape\":[";
  for (int d = 0; d < tensor.shape.size(); ++d) {
    if (d > 0) *out += ',';
    *out += std::to_string(tensor.shape[d]);
  }
  *out += "],\"data_offsets\":[" + std::to_string(tensor.begin) + ',' +
          std::to_string(tensor.end) + "]}";
}

std::string HeaderText(const SafetensorsHeader& header) {
  std::string text = "{";
  if (!header.metadata.empty()) AppendMetadata(header.metadata, &text);
  for (const SafetensorsTensor& tensor : header.tensors) {
    if (text.size() > 1) text += ',';
    AppendTensor(tensor, &text);
  }
  text += '}';
  return text;
}

/// The bytes before the data; spaces end the text.
StatusOr<std::string> Framed(std::string text, int64_t data_alignment) {
  const int64_t data_offset =
      RoundUpTo(kSafetensorsLengthNbytes + std::ssize(text), data_alignment);
  const int64_t nbytes = data_offset - kSafetensorsLengthNbytes;
  if (nbytes > kMaxSafetensorsHeaderNbytes) {
    return InvalidArgument(
        "the header of a safetensors file would have " +
        std::to_string(nbytes) +
        " bytes, more than the limit of 100,000,000: use more files");
  }
  text.resize(static_cast<size_t>(nbytes), ' ');
  WireWriter out;
  out.PutU64(static_cast<uint64_t>(nbytes));
  return std::move(out).Take() + text;
}

}  // namespace

StatusOr<SafetensorsHead> SerializeSafetensorsHeader(
    std::vector<SafetensorsTensor> tensors,
    std::map<std::string, std::string> metadata,
    const SafetensorsWriteOptions& options) {
  if (options.data_alignment < kSafetensorsLengthNbytes ||
      !std::has_single_bit(static_cast<uint64_t>(options.data_alignment))) {
    return InvalidArgument("the alignment of safetensors data is " +
                           std::to_string(options.data_alignment) +
                           ", no power of 2 from 8 on");
  }
  DCP_RETURN_IF_ERROR(CheckNames(tensors, metadata));
  std::sort(tensors.begin(), tensors.end(), GoesBefore);
  DCP_RETURN_IF_ERROR(LayOut(&tensors));
  SafetensorsHead head;
  head.header.metadata = std::move(metadata);
  head.header.tensors = std::move(tensors);
  DCP_ASSIGN_OR_RETURN(head.bytes,
                       Framed(HeaderText(head.header), options.data_alignment));
  head.header.data_offset = std::ssize(head.bytes);
  SortByPlace(&head.header.tensors);
  return head;
}

}  // namespace dcp
