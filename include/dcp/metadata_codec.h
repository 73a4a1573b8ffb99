// The bytes of a `.metadata` file: a pickle that torch reads and writes.
// src/format/FORMAT.md describes them.

#ifndef DCP_METADATA_CODEC_H_
#define DCP_METADATA_CODEC_H_

#include <string>
#include <string_view>

#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// Reads what torch 1.13 to 2.15 wrote, and what frameworks add to it.
///
/// Nothing in the file is executed. Attributes that are not torch's are named
/// in Metadata::ignored_attributes. Checked: types, ranges, ndim, products of
/// sizes, chunks within their tensors, items of the right kind. Not checked:
/// that paths are safe to open, that chunks do not overlap, that every chunk
/// has an item.
/// \error kDataLoss  the file is not a `.metadata`, or is damaged; the message
///     names the key or the byte. So is a file of more than 1 GiB in another
///     form than that in which torch and dcp write it
/// \error kUnimplemented  a dtype or layout that dcp does not know; the format
///     of torch 1.12
StatusOr<Metadata> ParseMetadata(std::string_view pickle);

/// Writes what torch 2.13 pickles for equal objects (protocol 4); equal
/// metadata give equal bytes. `storage_data` follows the order of the entries
/// and their chunks; what belongs to no chunk comes last, sorted.
/// \error kInvalidArgument  a string that is not UTF-8, or longer than the
///     1 MiB that ParseMetadata reads
StatusOr<std::string> SerializeMetadata(const Metadata& metadata);

}  // namespace dcp

#endif  // DCP_METADATA_CODEC_H_
