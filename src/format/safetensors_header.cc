#include "format/safetensors_header.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "base/wire.h"
#include "format/json_reader.h"
#include "format/safetensors_damage.h"
#include "format/safetensors_header_handler.h"

namespace dcp {
namespace {

constexpr std::string_view kFile = "safetensors file";

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// "[0, 8)"
std::string PlaceOf(const SafetensorsTensor& tensor) {
  return "[" + std::to_string(tensor.begin) + ", " +
         std::to_string(tensor.end) + ")";
}

/// "of shape [2] and type F32"
std::string KindOf(const SafetensorsTensor& tensor) {
  return "of shape " + ToString(tensor.shape) + " and type " +
         std::string(GetSafetensorsDTypeInfo(tensor.dtype).name);
}

/// The tensor's data begins where the last one's ended, and it has the size
/// that shape and type ask for.
Status CheckTensor(const SafetensorsTensor& tensor, int64_t expected_begin) {
  if (tensor.begin != expected_begin || tensor.end < tensor.begin) {
    return TensorDamage(tensor.name, "has its data at " + PlaceOf(tensor) +
                                         ", where it should begin at " +
                                         std::to_string(expected_begin) +
                                         ": tensors overlap or leave a gap");
  }
  const std::optional<int64_t> numel = CheckedNumel(tensor.shape);
  if (!numel) {
    return TensorDamage(
        tensor.name,
        KindOf(tensor) + " has 2^63 elements or more, zeros not counted");
  }
  const auto nbytes = SafetensorsNbytes(tensor.dtype, *numel);
  if (!nbytes) {
    return TensorDamage(
        tensor.name,
        KindOf(tensor) + " does not fill whole bytes, or 2^63 of them or more");
  }
  if (*nbytes != tensor.end - tensor.begin) {
    return TensorDamage(tensor.name,
                        KindOf(tensor) + " needs " + std::to_string(*nbytes) +
                            " bytes, and has its data at " + PlaceOf(tensor));
  }
  return absl::OkStatus();
}

Status CheckTensors(SafetensorsHeader* header, int64_t file_nbytes) {
  SortByPlace(&header->tensors);
  int64_t end = 0;
  for (const SafetensorsTensor& tensor : header->tensors) {
    DCP_RETURN_IF_ERROR(CheckTensor(tensor, end));
    end = tensor.end;
  }
  const int64_t data_nbytes = file_nbytes - header->data_offset;
  if (end == data_nbytes) return absl::OkStatus();
  return DataLoss(
      "the tensors have " + std::to_string(end) + " bytes, and behind the " +
      std::to_string(header->data_offset) + " bytes of the header there are " +
      std::to_string(data_nbytes) +
      (end > data_nbytes ? ": it is cut off" : ": something was appended"));
}

Status ReadHeader(std::string_view text, int64_t file_nbytes,
                  SafetensorsHeader* header) {
  SafetensorsHeaderHandler handler(header);
  DCP_RETURN_IF_ERROR(ReadJson(text, handler));
  return CheckTensors(header, file_nbytes);
}

/// \param head  8 bytes or more, unless the file is shorter
StatusOr<int64_t> HeadNbytes(std::string_view head, int64_t file_nbytes) {
  if (file_nbytes < kSafetensorsLengthNbytes) {
    return DataLoss("it has " + std::to_string(file_nbytes) +
                    " bytes, too few for a header");
  }
  const uint64_t nbytes = WireReader(head, "length").U64();
  if (nbytes > uint64_t{kMaxSafetensorsHeaderNbytes}) {
    return DataLoss("the header would have " + std::to_string(nbytes) +
                    " bytes, more than the limit of 100,000,000");
  }
  const int64_t head_nbytes =
      kSafetensorsLengthNbytes + static_cast<int64_t>(nbytes);
  if (head_nbytes > file_nbytes) {
    return DataLoss("the header would end at byte " +
                    std::to_string(head_nbytes) + ", and the file has " +
                    std::to_string(file_nbytes) + " bytes");
  }
  return head_nbytes;
}

}  // namespace

void SortByPlace(std::vector<SafetensorsTensor>* tensors) {
  // Those without data come first: (begin, begin) is before (begin, end).
  std::sort(tensors->begin(), tensors->end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return std::tie(a.begin, a.end, a.name) <
                     std::tie(b.begin, b.end, b.name);
            });
}

int64_t SafetensorsFileNbytes(const SafetensorsHeader& header) {
  return header.data_offset +
         (header.tensors.empty() ? 0 : header.tensors.back().end);
}

StatusOr<int64_t> SafetensorsHeadNbytes(std::span<const std::byte> head,
                                        int64_t file_nbytes) {
  if (file_nbytes >= kSafetensorsLengthNbytes &&
      std::ssize(head) < kSafetensorsLengthNbytes) {
    return InvalidArgument(
        "the first 8 bytes of a safetensors file are needed");
  }
  StatusOr<int64_t> nbytes = HeadNbytes(AsText(head), file_nbytes);
  if (!nbytes.ok()) return DamageOfFile(kFile, nbytes.status());
  return nbytes;
}

StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    std::span<const std::byte> head, int64_t file_nbytes) {
  DCP_ASSIGN_OR_RETURN(const int64_t head_nbytes,
                       SafetensorsHeadNbytes(head, file_nbytes));
  if (std::ssize(head) < head_nbytes) {
    return InvalidArgument("all of a safetensors header is needed");
  }
  SafetensorsHeader header{.data_offset = head_nbytes};
  const std::string_view text =
      AsText(head.first(static_cast<size_t>(head_nbytes)))
          .substr(kSafetensorsLengthNbytes);
  DCP_RETURN_IF_ERROR(
      DamageOfFile(kFile, ReadHeader(text, file_nbytes, &header)));
  return header;
}

}  // namespace dcp
