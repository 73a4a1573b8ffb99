// WireWriter / WireReader: the little-endian binary encoding of everything
// that dcp sends between ranks or keeps in its own files.
//
// Integers are LEB128 varints (signed ones zig-zag), fixed-width ones are
// little-endian, strings are length-prefixed. A reader never allocates more
// than the bytes that are left can justify.

#ifndef DCP_BASE_WIRE_H_
#define DCP_BASE_WIRE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "dcp/dims.h"
#include "dcp/status.h"

namespace dcp {

class WireWriter {
 public:
  void PutU8(uint8_t value);
  void PutFlag(bool value);     ///< a byte, 0 or 1
  void PutU32(uint32_t value);  ///< fixed width
  void PutU64(uint64_t value);  ///< fixed width
  void PutVarint(uint64_t value);
  void PutSigned(int64_t value);
  void PutString(std::string_view value);
  void PutDims(const Dims& dims);

  const std::string& data() const { return data_; }
  std::string Take() && { return std::move(data_); }

 private:
  std::string data_;
};

/// Reads what WireWriter wrote. After a failed read every further read fails
/// too and returns zero values, so a parser checks `status()` once per record.
class WireReader {
 public:
  /// `data` must outlive the reader. `what` names the message in errors.
  WireReader(std::string_view data, std::string what)
      : data_(data), what_(std::move(what)) {}

  uint8_t U8();
  bool Flag();  ///< fails if the byte is neither 0 nor 1
  uint32_t U32();
  uint64_t U64();
  uint64_t Varint();
  int64_t Signed();
  std::string_view String();  ///< view into the data
  Dims GetDims();
  /// A count of records of at least `min_record_nbytes` each; fails when the
  /// bytes left cannot hold that many.
  size_t Count(size_t min_record_nbytes);

  bool ok() const { return ok_; }
  size_t remaining() const { return data_.size() - position_; }
  /// kDataLoss when a read ran past the end or a value was malformed.
  Status status() const;
  /// As status(), and kDataLoss when bytes are left over.
  Status Finish() const;
  void Fail() { ok_ = false; }

 private:
  std::string_view Take(size_t nbytes);

  std::string_view data_;
  std::string what_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace dcp

#endif  // DCP_BASE_WIRE_H_
