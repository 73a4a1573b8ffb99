#include "base/wire.h"

#include <bit>
#include <cstring>

namespace dcp {

static_assert(std::endian::native == std::endian::little,
              "dcp supports little-endian hosts only");

void WireWriter::PutU8(uint8_t value) {
  data_.push_back(static_cast<char>(value));
}

void WireWriter::PutFlag(bool value) { PutU8(value ? 1 : 0); }

void WireWriter::PutU32(uint32_t value) {
  data_.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void WireWriter::PutU64(uint64_t value) {
  data_.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void WireWriter::PutVarint(uint64_t value) {
  while (value >= 0x80) {
    PutU8(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  PutU8(static_cast<uint8_t>(value));
}

void WireWriter::PutSigned(int64_t value) {
  PutVarint((static_cast<uint64_t>(value) << 1) ^
            static_cast<uint64_t>(value >> 63));
}

void WireWriter::PutString(std::string_view value) {
  PutVarint(value.size());
  data_.append(value);
}

void WireWriter::PutDims(const Dims& dims) {
  PutVarint(static_cast<uint64_t>(dims.size()));
  for (int64_t value : dims) PutSigned(value);
}

std::string_view WireReader::Take(size_t nbytes) {
  if (!ok_ || nbytes > remaining()) {
    ok_ = false;
    return {};
  }
  std::string_view taken = data_.substr(position_, nbytes);
  position_ += nbytes;
  return taken;
}

uint8_t WireReader::U8() {
  std::string_view taken = Take(1);
  return taken.empty() ? uint8_t{0} : static_cast<uint8_t>(taken[0]);
}

bool WireReader::Flag() {
  const uint8_t value = U8();
  if (value > 1) ok_ = false;
  return ok_ && value == 1;
}

uint32_t WireReader::U32() {
  uint32_t value = 0;
  std::string_view taken = Take(sizeof(value));
  if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof(value));
  return value;
}

uint64_t WireReader::U64() {
  uint64_t value = 0;
  std::string_view taken = Take(sizeof(value));
  if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof(value));
  return value;
}

uint64_t WireReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = U8();
    if (!ok_) return 0;
    // The tenth byte holds the top bit only.
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  ok_ = false;
  return 0;
}

int64_t WireReader::Signed() {
  const uint64_t value = Varint();
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

std::string_view WireReader::String() {
  const uint64_t nbytes = Varint();
  if (nbytes > remaining()) ok_ = false;
  return Take(ok_ ? static_cast<size_t>(nbytes) : 0);
}

Dims WireReader::GetDims() {
  const uint64_t ndim = Varint();
  if (ndim > Dims::kMaxDims) ok_ = false;
  Dims dims;
  for (uint64_t d = 0; ok_ && d < ndim; ++d) dims.push_back(Signed());
  return ok_ ? dims : Dims();
}

size_t WireReader::Count(size_t min_record_nbytes) {
  const uint64_t count = Varint();
  if (!ok_ || count > remaining() / min_record_nbytes) {
    ok_ = false;
    return 0;
  }
  return static_cast<size_t>(count);
}

Status WireReader::status() const {
  if (ok_) return absl::OkStatus();
  return DataLoss(what_ + " is truncated or malformed at byte " +
                  std::to_string(position_) + " of " +
                  std::to_string(data_.size()));
}

Status WireReader::Finish() const {
  DCP_RETURN_IF_ERROR(status());
  if (remaining() == 0) return absl::OkStatus();
  return DataLoss(what_ + " has " + std::to_string(remaining()) +
                  " bytes too many");
}

}  // namespace dcp
