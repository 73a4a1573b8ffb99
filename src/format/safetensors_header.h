// The header of a safetensors file: which tensor lies where.
//
// A file is a length N of 8 bytes, N bytes of JSON, and the tensors' data, one
// after the other without a gap (safetensors README "Format"). FORMAT.md says
// where this reader is stricter than the reference, safetensors 0.8.

#ifndef DCP_FORMAT_SAFETENSORS_HEADER_H_
#define DCP_FORMAT_SAFETENSORS_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/status.h"
#include "format/safetensors_dtype.h"

namespace dcp {

/// The length of the JSON, before it.
inline constexpr int64_t kSafetensorsLengthNbytes = 8;
/// The reference's limit of the JSON's length.
inline constexpr int64_t kMaxSafetensorsHeaderNbytes = 100'000'000;
/// The name that no tensor can have.
inline constexpr std::string_view kSafetensorsMetadataKey = "__metadata__";

struct SafetensorsTensor {
  std::string name;
  SafetensorsDType dtype = SafetensorsDType::kF32;
  Dims shape;  ///< as in the header; TorchShapeOf
  /// The data, in bytes from the start of all data.
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const SafetensorsTensor&) const = default;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  /// By begin, end and name. Together they are all of the data.
  std::vector<SafetensorsTensor> tensors;
  int64_t data_offset = 0;  ///< where the data begins in the file
  bool operator==(const SafetensorsHeader&) const = default;
};

/// Brings tensors into the order of SafetensorsHeader::tensors.
void SortByPlace(std::vector<SafetensorsTensor>* tensors);

/// The file's size.
int64_t SafetensorsFileNbytes(const SafetensorsHeader& header);

/// Bytes that ParseSafetensorsHeader needs: the length and the JSON. They are
/// proven to lie within the file, and to be no more than the limit.
///
/// \param head  the file's first kSafetensorsLengthNbytes, or all of a shorter
///     one; more is ignored
/// \error kDataLoss  no safetensors file, or a part of one
StatusOr<int64_t> SafetensorsHeadNbytes(std::span<const std::byte> head,
                                        int64_t file_nbytes);

/// Proves that every tensor has the size that its shape and type ask for and
/// that all together are the rest of the file. Memory is proportional to
/// `head`.
///
/// \param head  the file's first SafetensorsHeadNbytes; more is ignored
/// \error kDataLoss  as above; names the tensor, also in ErrorDetail::fqn
/// \error kInvalidArgument  `head` is shorter
StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    std::span<const std::byte> head, int64_t file_nbytes);

struct SafetensorsWriteOptions {
  /// The data begins at a multiple of it: a power of 2, at least 8. What lies
  /// behind the first tensor follows without a gap.
  int64_t data_alignment = 8;
};

/// What a file begins with.
struct SafetensorsHead {
  std::string bytes;  ///< all before the data
  SafetensorsHeader header;
};

/// Lays `tensors` out; their begin and end are ignored. The same bytes as
/// safetensors 0.8 writes, whose order of two metadata keys or more is random:
/// here they are sorted.
///
/// \error kInvalidArgument  two tensors of one name, or one of the name of the
///     metadata; text that is not UTF-8; a shape that is no whole number of
///     bytes, or too large; a header of more than the limit
StatusOr<SafetensorsHead> SerializeSafetensorsHeader(
    std::vector<SafetensorsTensor> tensors,
    std::map<std::string, std::string> metadata,
    const SafetensorsWriteOptions& options = {});

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_HEADER_H_
