// What the native storage reads and writes at most, and its constants.

#ifndef DCP_STORAGE_LIMITS_H_
#define DCP_STORAGE_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dcp {

// What is larger than these is refused unread, and not published either.

/// `.metadata`: about 180 bytes a chunk, so 45 million of them.
inline constexpr int64_t kMaxMetadataNbytes = int64_t{8} << 30;
/// 4 bytes for each MiB of data, about 20 for each item.
inline constexpr int64_t kMaxSidecarNbytes = int64_t{1} << 30;
/// From 1 to 30 bytes for each item.
inline constexpr int64_t kMaxIndexedMetadataNbytes = int64_t{1} << 30;

/// Checkpoints of fewer items have no indexed metadata: reading a `.metadata`
/// of 8 MB takes each rank some 40 ms, and one file more costs a save about as
/// much on a slow storage.
inline constexpr size_t kMinIndexedItems = 65536;

/// Files that one save or load has open at a time; each may have two
/// descriptors, and 1024 is what a process often gets.
inline constexpr size_t kMaxOpenFiles = 128;

/// Files that who opened a checkpoint has open for as long. He may open some
/// checkpoints at once.
inline constexpr size_t kMaxHeldFiles = 64;

/// Metadata::version: torch 2.13 filesystem.py CURRENT_DCP_VERSION.
inline constexpr std::string_view kMetadataVersion = "1.0.0";

}  // namespace dcp

#endif  // DCP_STORAGE_LIMITS_H_
