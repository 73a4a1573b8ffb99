// Numbers of the zip format (PKWARE APPNOTE.TXT 6.3.10).

#ifndef DCP_FORMAT_ZIP_FORMAT_H_
#define DCP_FORMAT_ZIP_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace dcp {

inline constexpr uint32_t kZipLocalSignature = 0x04034b50;
inline constexpr uint32_t kZipDescriptorSignature = 0x08074b50;
inline constexpr uint32_t kZipCentralSignature = 0x02014b50;
inline constexpr uint32_t kZipEndSignature = 0x06054b50;
inline constexpr uint32_t kZip64EndSignature = 0x06064b50;
inline constexpr uint32_t kZip64LocatorSignature = 0x07064b50;

inline constexpr size_t kZipLocalNbytes = 30;
inline constexpr size_t kZipDescriptorNbytes = 16;
inline constexpr size_t kZip64DescriptorNbytes = 24;
inline constexpr size_t kZipCentralNbytes = 46;
inline constexpr size_t kZipEndNbytes = 22;
inline constexpr size_t kZip64EndNbytes = 56;
inline constexpr size_t kZip64LocatorNbytes = 20;

/// Encrypted, weakly or strongly, masked, or patch data.
inline constexpr uint16_t kZipFlagsEncoded = 1 | 1 << 6 | 1 << 13 | 1 << 5;
inline constexpr uint16_t kZipFlagDescriptor = 8;
inline constexpr uint16_t kZipFlagUtf8 = 0x800;

/// Of the external attributes.
inline constexpr uint32_t kZipAttributeDirectory = 0x10;

/// The version of the format needed to read a record, 10 times: all there are.
inline constexpr uint8_t kZipMaxVersion = 63;

/// Stands for "see the zip64 field" in a 32-bit field.
inline constexpr uint32_t kZip32Max = 0xffffffff;
inline constexpr uint16_t kZip64ExtraId = 1;

}  // namespace dcp

#endif  // DCP_FORMAT_ZIP_FORMAT_H_
